"""What a person is told to do next follows from what failed."""

from dataclasses import replace

import pytest
from tests.golden.report_cases import CASES

from stormgate.model import Cell, Finding, Judgement, Verdict
from stormgate.report.words import next_steps, proved


def failed(kind: str, verdict: Verdict = Verdict.FAIL, **detail: object) -> Finding:
    cell = Cell(name="c", verdict=verdict, value=1, bound=1, samples=1, why="w", detail=detail)
    return Finding(
        name=kind, kind=kind, verdict=verdict, value=1, bound=1, limit=0, unit="", samples=1,
        why="w", cells=(cell,),
    )  # fmt: skip


def judged(*objectives: Finding) -> Judgement:
    return replace(CASES[Verdict.FAIL], objectives=objectives)


@pytest.mark.parametrize(
    ("objectives", "told"),
    [
        ([failed("latency")], "the cells that failed"),
        ([failed("ackedWrites", key="users/1", version=3)], "the very keys"),
        ([failed("latency", Verdict.PASS), failed("bank", key="a")], "the very keys"),
        ([replace(failed("bank", key="a"), waived="ops"), failed("failover")], "the cells that"),
        ([replace(failed("bank", key="a"), waived="ops")], "the very keys"),
        ([failed("latency", Verdict.PASS)], "at what failed"),
    ],
)
def test_where_to_look_is_where_it_failed(objectives: list[Finding], told: str) -> None:
    steps = next_steps(judged(*objectives), "reports/x")
    assert told in steps[1]
    assert "`reports/x/report.html`" in steps[1]


def test_what_users_did_is_taken_out_by_a_command_that_names_the_run() -> None:
    steps = next_steps(judged(failed("ackedWrites", key="k")), "reports/x")
    assert "`stormgate evidence export reports/x --history --final`" in steps[2]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_that_nothing_was_proved_is_told_where_no_failure_shows_it(verdict: Verdict) -> None:
    told = proved(replace(CASES[verdict], proofs=()))
    assert bool(told) is (CASES[verdict].verdict is not Verdict.FAIL)
    assert proved(replace(CASES[verdict], proofs=None)) == []
