"""The experiments as files: valid before anything starts, safe under plain `chaos run`, and all
there.
"""

from pathlib import Path

import pytest
import yaml

from stormgate.documents import load_target
from stormgate.documents.experiments import Given, check_experiment
from stormgate.documents.problems import Problems

ROOT = Path(__file__).resolve().parents[3]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
WANTED = {
    "region-loss",
    "region-freeze",
    "region-blackhole",
    "edge-loss",
    "shard-primary-loss",
    "shard-primary-freeze",
    "standby-loss",
    "cache-node-loss",
    "cache-node-slow",
    "region-partition",
    "replication-lag",
    "slow-region",
    "flaky-link",
    "rolling-deploy",
    "shard-primary-and-cache-loss",
}


@pytest.fixture(scope="module")
def lab():
    return load_target(ROOT / "targets/lab-inference.yaml")  # it has all that the lab can have


def test_all_are_there():
    assert {path.stem for path in EXPERIMENTS} >= WANTED


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_valid_against_the_lab(path, lab):
    problems = Problems()
    check_experiment(path, Given(), ROOT, lab, problems)
    problems.raise_any()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_safe_under_plain_chaos_toolkit(path):
    experiment = yaml.safe_load(path.read_text())
    assert experiment["tags"]
    assert experiment["steady-state-hypothesis"]["probes"]
    assert experiment["runtime"] == {"rollbacks": {"strategy": "always"}}
    assert [each["provider"]["module"] for each in experiment["controls"]] == [
        "stormgate.chaos.control"
    ]
    assert [each["provider"]["func"] for each in experiment["rollbacks"]] == [
        "undo",
        "wait_until_whole",
    ]
    assert not any("pauses" in each for each in experiment["method"]), (
        "a pause cannot be stopped; use the action `hold`"
    )
