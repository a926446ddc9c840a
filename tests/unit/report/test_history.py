"""This run against earlier ones: what is new, resolved and ongoing, and how the figures moved."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.golden.report_cases import CASES, HOSTILE

from stormgate.evidence.past import PastRun
from stormgate.model import Judgement, Verdict
from stormgate.report.html.history import earlier_section


def past(judgement: Judgement | None, serial: int = 0) -> PastRun:
    return PastRun(Path(f"run-{serial}"), datetime(2026, 1, 1, tzinfo=UTC), judgement)


def only(judgement: Judgement, **verdicts: Verdict) -> Judgement:
    """That judgement with other verdicts of some objectives."""
    changed = tuple(
        replace(f, verdict=verdicts.get(f.name, f.verdict)) for f in judgement.objectives
    )
    return replace(judgement, objectives=changed)


def rows(page: str) -> dict[str, str]:
    """Objective -> the text of its row."""
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL):
        words = re.sub(r"<[^>]+>", " ", row)
        for name in ("availability", "failover", "read-p95"):
            if f'href="#objective-{name}"' in row:
                found[name] = re.sub(r"\s+", " ", words)
    return found


def test_new_ongoing_resolved_and_fine() -> None:
    before = only(CASES[Verdict.FAIL], availability=Verdict.FAIL)
    passed = past(CASES[Verdict.PASS], 1)
    now = only(CASES[Verdict.PASS], failover=Verdict.INCONCLUSIVE)
    page = str(earlier_section(now, [passed, past(before, 2)], "run-3"))
    told = rows(page)
    assert "Ongoing was FAIL" in told["failover"]
    assert "Resolved was FAIL" in told["availability"]
    assert "Fine" in told["read-p95"]
    assert "the last that passed is run-1" in page
    new = rows(str(earlier_section(CASES[Verdict.FAIL], [passed], "run-2")))["failover"]
    assert "New" in new
    assert "8.2 s 3.41 s +4.79 s" in new


def test_without_earlier_runs_there_is_nothing_to_tell() -> None:
    assert earlier_section(CASES[Verdict.PASS], [], "x") == ""
    assert earlier_section(CASES[Verdict.PASS], [past(None)], "x") == ""


def test_no_pass_before_is_said() -> None:
    page = earlier_section(CASES[Verdict.PASS], [past(CASES[Verdict.FAIL])], "x")
    assert "no run of this gate has passed before" in page


@pytest.mark.parametrize("count", [1, 5, 40])
def test_the_last_twenty_are_drawn_with_their_numbers(count: int) -> None:
    earlier = [past(CASES[Verdict.PASS], n) for n in range(count)]
    page = str(earlier_section(CASES[Verdict.FAIL], earlier, "now"))
    shown = min(20, count + 1)
    assert page.count("<svg") == 3
    assert page.count("<circle") == 3 * shown
    assert f"<b>failover</b> {shown} runs" in page


def test_names_of_earlier_runs_are_text() -> None:
    run = PastRun(
        Path(HOSTILE.replace("/", "").replace("\x00", "")), datetime.now(UTC), CASES[Verdict.PASS]
    )
    page = str(earlier_section(CASES[Verdict.FAIL], [run], HOSTILE))
    assert "<script" not in page
    assert "<img" not in page
