"""A run that meant to send outside `allow` is never PASS, whatever its rows say of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from stormgate.judge.rules.network import check_network
from stormgate.model import Verdict
from stormgate.supervise.watch import Watcher

ROW = {
    "at_ns": 1,
    "event": "net.refused",
    "by": "load",
    "who": "loadtests/x.py:7",
    "where": "10.0.0.1:80",
    "count": 1,
}


def test_nothing_refused_is_no_finding() -> None:
    assert check_network([{"at_ns": 1, "event": "run.begin"}]) is None


def test_counts_add_up_and_the_most_frequent_leads() -> None:
    rows = [ROW, {**ROW, "count": 1}, {**ROW, "count": 2}, {**ROW, "where": "10.0.0.2:80"}]
    finding = check_network(rows)
    assert finding is not None
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.why.startswith("refused 4 times: 10.0.0.1:80 is not in the target's allow list")
    assert "loadtests/x.py:7" in finding.why
    assert finding.detail["refused"] == 5


def test_an_experiment_that_was_refused_is_an_error() -> None:
    finding = check_network([ROW, {**ROW, "by": "chaos", "fault": "f"}])
    assert finding is not None
    assert finding.verdict is Verdict.ERROR
    assert any("(chaos: f)" in problem for problem in finding.detail["problems"])


@pytest.mark.parametrize(
    "changed",
    [
        {"count": 0},
        {"count": None},
        {"count": True},
        {"count": float("nan")},
        {"who": ""},
        {"who": None},
        {"where": ["x"]},
        {"by": "nobody"},
        {"by": {}},
    ],
)
def test_a_row_that_breaks_its_law_is_still_a_refusal(changed: dict[str, Any]) -> None:
    finding = check_network([{**ROW, **changed}])
    assert finding is not None
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "says nothing" in finding.why


def test_the_supervisor_keeps_the_first_reason() -> None:
    watcher = Watcher()
    watcher.note({"event": "run.begin"})
    assert watcher.refused is None
    watcher.note(ROW)
    watcher.note({**ROW, "who": "other"})
    assert watcher.refused is not None
    assert watcher.refused.startswith("loadtests/x.py:7 asked for 10.0.0.1:80")
