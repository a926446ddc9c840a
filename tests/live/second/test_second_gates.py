"""The second service on trial: a good release passes, a bad one fails by what is wrong with it."""

import json

import pytest
from tests.live.second.second_suite import stand, stormgate

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(400)]

GATE = "slas/first.yaml"


@pytest.mark.parametrize(
    ("release", "exit_code", "failed"),
    [
        ({}, 0, set()),
        ({"FAILOVER": "no"}, 1, {"failover"}),
        ({"SLOW_S": "0.3"}, 1, {"p95"}),
        ({"ERRORS": "0.2"}, 1, {"availability"}),
    ],
    ids=["good", "no-failover", "slow", "errors"],
)
def test_a_release_passes_or_fails_by_what_is_wrong_with_it(second, release, exit_code, failed):
    names = [f"{region}-{part}" for region in ("eu", "us") for part in ("nginx", "app")]
    stand("down", second.run, *names)
    stand("up", second.run, *names, EU_CACHE=second.cache, **release)
    try:
        # Errors from the start are seen before anything is broken, and refused there: exit code 2.
        look = ["--no-check"] if "ERRORS" in release else []
        gate = stormgate(
            second.suite, "gate", GATE, *look, timeout_s=300, EU_CACHE=second.cache, **release
        )
    finally:
        stand("down", second.run, *names)
        stand("up", second.run, *names, EU_CACHE=second.cache)
    assert gate.returncode == exit_code, gate.stdout + gate.stderr
    verdict = json.loads((second.suite / "reports" / "latest" / "verdict.json").read_text())
    assert {o["name"] for o in verdict["objectives"] if o["verdict"] == "FAIL"} >= failed
    assert bool(failed) == any(o["verdict"] == "FAIL" for o in verdict["objectives"])
