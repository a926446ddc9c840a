"""action.yml: no other action, nothing of an input in a script's text, and the gate's exit code is
the step's. Its script is run by bash with a gate that ends in each way.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stormgate.model import EXIT_USAGE, Verdict

ROOT = Path(__file__).parents[3]
ACTION: dict[str, Any] = YAML(typ="safe").load((ROOT / "action.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]

FAKE = """#!/bin/sh
printf '%s\\n' "$*" >> {log}
[ "$1" = publish ] && exit 0
code={code}
if [ "$code" -ne 2 ]; then
  mkdir -p "$4/run-1"
  printf '{{"verdict": "{verdict}"}}' > "$4/run-1/verdict.json"
  ln -sfn run-1 "$4/latest"
fi
exit "$code"
"""


def test_it_uses_no_other_action_and_no_input_is_script_text() -> None:
    assert ACTION["runs"]["using"] == "composite"
    for step in STEPS:
        assert "uses" not in step
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]


@pytest.mark.parametrize(
    ("code", "verdict"),
    [*((v.exit_code, v.value) for v in Verdict), (EXIT_USAGE, "REFUSED")],
)
def test_the_steps_exit_code_is_the_gates(tmp_path: Path, code: int, verdict: str) -> None:
    log, out = tmp_path / "log", tmp_path / "output"
    fake = tmp_path / "stormgate" / "bin" / "stormgate"
    fake.parent.mkdir(parents=True)
    fake.write_text(FAKE.format(log=shlex.quote(str(log)), code=code, verdict=verdict))
    fake.chmod(0o755)
    old = tmp_path / "reports" / "run-0"
    old.mkdir(parents=True)
    (old / "verdict.json").write_text(json.dumps({"verdict": "PASS"}))
    (tmp_path / "reports" / "latest").symlink_to("run-0")
    env = {
        "PATH": os.environ["PATH"],
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(out),
        "GATE": "slas/my gate.yaml",
        "REPORTS": "reports",
        "RELEASE": "v1 $(touch broken)",
        "ARGUMENTS": "--seed 7",
    }
    (step,) = [s for s in STEPS if s.get("id") == "gate"]
    done = subprocess.run(
        ["bash", "-c", step["run"]], cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert done.returncode == code, done.stderr.decode()
    said = dict(line.split("=", 1) for line in out.read_text().splitlines())
    assert (said["verdict"], said["exit-code"]) == (verdict, str(code))
    calls = log.read_text().splitlines()
    assert calls[0] == (
        "gate slas/my gate.yaml --reports reports --release v1 $(touch broken) --seed 7"
    )
    assert not (tmp_path / "broken").exists()
    if code == 2:
        # Nothing ran: the run before this one is not this one's.
        assert ("run" in said, len(calls)) == (False, 1)
    else:
        assert (said["run"], calls[1]) == ("reports/run-1", "publish reports/latest --github")
