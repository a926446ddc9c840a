"""Chaos Toolkit as its users know it: plain `chaos run` in a suite, and their own settings."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.live

TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: bare}
spec:
  regions: [{name: here, latitude: 0, longitude: 0}]
  populations:
    - {name: all, share: 1, latitude: 0, longitude: 0, edges: [a], links: {a: "http://127.0.0.1:9"}}
"""
OURS = {
    "name": "stormgate",
    "provider": {"type": "python", "module": "stormgate.chaos.control"},
}
TOLD = """\
import os

def _say(what, context):
    with open(os.environ["TOLD"], "a") as file:
        file.write(f"{what} {context.get('name') or context.get('title')}\\n")

def before_experiment_control(context, **_): _say("experiment", context)
def before_hypothesis_control(context, **_): _say("hypothesis", context)
def before_activity_control(context, **_): _say("before", context)
def after_activity_control(context, **_): _say("after", context)
def fine(): return True
"""


@pytest.fixture
def suite(tmp_path):
    for name in ("experiments", "targets", "probes", "home/.chaostoolkit"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "targets/bare.yaml").write_text(TARGET)
    (tmp_path / "probes/own.py").write_text(TOLD)
    own = {"type": "python", "module": "probes.own"}
    fine = {"type": "python", "module": "probes.own", "func": "fine"}
    ours = {"type": "python", "module": "stormgate.chaos.probes", "func": "target_whole"}
    experiment = {
        "title": "Theirs",
        "description": "d",
        "controls": [{"name": "mine", "automatic": True, "provider": own}, OURS],
        "steady-state-hypothesis": {
            "title": "whole",
            "probes": [
                {"type": "probe", "name": "whole", "tolerance": True, "provider": ours},
                {"type": "probe", "name": "fine", "tolerance": True, "provider": fine},
            ],
        },
        "method": [{"type": "action", "name": "act", "provider": fine}],
        "rollbacks": [],
    }
    (tmp_path / "experiments/theirs.yaml").write_text(yaml.safe_dump(experiment))
    return tmp_path


def run(suite: Path, *argv: str) -> tuple[subprocess.CompletedProcess, Counter]:
    told = suite / "told"
    told.write_text("")
    env = {key: value for key, value in os.environ.items() if not key.startswith("STORMGATE_")}
    env.pop("PYTHONPATH", None)
    env |= {
        "HOME": str(suite / "home"),
        "XDG_STATE_HOME": str(suite / "xdg"),
        "TOLD": str(told),
    }
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=suite,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done, Counter(told.read_text().splitlines())


def chaos(suite: Path) -> tuple[subprocess.CompletedProcess, Counter]:
    # -P: the command's own script, too, has no folder of the suite in its path.
    words = ("-P", "-m", "chaostoolkit", "--no-version-check", "run", "experiments/theirs.yaml")
    return run(suite, *words)


def test_chaos_run_works_in_a_suite_after_use(suite):
    before, _ = chaos(suite)
    assert before.returncode == 1
    assert "stormgate use TARGET" in before.stdout + before.stderr
    used, _ = run(suite, "-m", "stormgate.cli", "use", "targets/bare.yaml")
    assert used.returncode == 0, used.stderr
    done, told = chaos(suite)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((suite / "journal.json").read_text())["status"] == "completed"
    assert told["experiment Theirs"] == 1, "its own module was found without PYTHONPATH"
    assert not (suite / "reports/latest").exists()


def test_the_users_own_settings_are_taken_as_under_chaos_run(suite):
    settings = {"controls": {"theirs": {"provider": {"type": "python", "module": "probes.own"}}}}
    settings["runtime"] = {"rollbacks": {"strategy": "never"}}
    (suite / "home/.chaostoolkit/settings.yaml").write_text(yaml.safe_dump(settings))
    path = suite / "experiments/theirs.yaml"
    experiment = yaml.safe_load(path.read_text())
    del experiment["steady-state-hypothesis"]["probes"][0]
    experiment["rollbacks"] = [{**experiment["method"][0], "name": "back"}]
    path.write_text(yaml.safe_dump(experiment))
    run(suite, "-m", "stormgate.cli", "use", "targets/bare.yaml")
    words = ("experiments/theirs.yaml", "--fault", "f")
    done, told = run(suite, "-m", "stormgate.chaos.run", *words)
    assert done.returncode == 0, done.stderr
    (made,) = (suite / "reports").glob("2*-f-*")
    journal = json.loads((made / "journals/f.json").read_text())
    assert journal["stormgate"]["controls"] == ["theirs"], "who else saw the trial"
    assert told["before back"] == 2, "the rollbacks are played, whatever the settings say"
    # Without rollbacks both see exactly the same.
    experiment["rollbacks"] = []
    path.write_text(yaml.safe_dump(experiment))
    plain, theirs = run(suite, "-m", "chaostoolkit", "--no-version-check", "run", words[0])
    assert plain.returncode == 0, plain.stdout + plain.stderr
    _, ours = run(suite, "-m", "stormgate.chaos.run", *words)
    assert ours == theirs
    assert ours["before act"] == 2
