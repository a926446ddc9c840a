"""Every experiment of CHE·NU, really run on the lab: broken, proven, undone, and the lab whole
again.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.chaos_fixture import ROOT

from stormgate.documents import load_target
from stormgate.faults.ledger import open_entries
from stormgate.judge.journal import problems
from stormgate.lab.runtime.launch import launch
from stormgate.model import to_json
from stormgate.net.status import wait_whole

pytestmark = pytest.mark.live

# flash-crowd needs a running load: tests/live/gate plays it.
EXPERIMENTS = sorted(
    {path.stem for path in (ROOT / "experiments").glob("*.yaml")} - {"flash-crowd"}
)
HOLD_S = 4.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    # The lab that has all that any of them breaks: with models, for tier-loss.
    lab = launch(
        load_target(ROOT / "targets/lab-inference.yaml"),
        state=tmp_path_factory.mktemp("lab"),
        deadline_s=90,
    )
    try:
        yield lab.target
    finally:
        lab.stop()


def run(lab, folder: Path, name: str, **configuration):
    folder.mkdir()
    (folder / "target.json").write_text(json.dumps(to_json(lab)))
    env = {key: value for key, value in os.environ.items() if not key.startswith("STORMGATE_")}
    env |= {
        "STORMGATE_TARGET": str(folder / "target.json"),
        "STORMGATE_EVIDENCE": str(folder),
        "XDG_STATE_HOME": str(folder / "xdg"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }
    argv = [
        sys.executable,
        "-m",
        "stormgate.chaos.run",
        f"experiments/{name}.yaml",
        "--fault",
        name,
    ]
    argv += ["--configuration", json.dumps(configuration)]
    done = subprocess.run(
        argv, env=env, cwd=ROOT, capture_output=True, text=True, timeout=160, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "journals" / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment(lab, tmp_path, name):
    assert wait_whole(lab, 60).whole
    configuration = {} if name == "rolling-deploy" else {"hold_s": HOLD_S}
    journal = run(lab, tmp_path / "run", name, **configuration)
    assert problems(journal) == []
    rows = [
        json.loads(line) for line in (tmp_path / "run/timeline.ndjson").read_text().splitlines()
    ]
    faults = {row["id"] for row in rows if row["event"] == "fault.requested"}
    assert faults
    for event in ("fault.acknowledged", "fault.observed", "fault.cleared"):
        assert {row["id"] for row in rows if row["event"] == event} == faults
    assert open_entries(tmp_path / "run") == []
    assert wait_whole(lab, 30).whole
