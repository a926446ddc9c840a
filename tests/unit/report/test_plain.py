"""A run without a screen: nothing but a line at the end, or lines that any program reads."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.golden.report_cases import CASES, hostile

from stormgate.model import Verdict
from stormgate.report.plain import NdjsonScreen, QuietScreen


@pytest.mark.parametrize("verdict", list(Verdict))
def test_quiet_is_one_line_with_the_verdict_and_where(verdict: Verdict) -> None:
    lines: list[str] = []
    screen = QuietScreen(lines.append)
    screen.phase("steady", 4)
    screen.tick({"rate_per_s": 1.0})
    screen.event("x")
    assert lines == []
    screen.done(CASES[verdict], Path("reports/r"))
    assert len(lines) == 1
    assert lines[0].startswith(f"{verdict} chenu-release: ")
    assert lines[0].endswith("(reports/r)")


def test_ndjson_says_each_thing_once_and_figures_once_a_second() -> None:
    lines: list[str] = []
    now = [100.0]
    screen = NdjsonScreen(lines.append, lambda: now[0])
    screen.phase("steady", 30)
    for _ in range(9):
        screen.tick({"rate_per_s": math.nan, "good_share": None, "p95_ms": math.inf, "samples": 3})
        now[0] += 0.25
    screen.event("a\nb\x1b[31m")
    screen.done(hostile(), Path("reports/r"))
    assert all("\n" not in line and "\x1b" not in line for line in lines)
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [row["event"] for row in rows] == ["phase", *["figures"] * 3, "said", "done"]
    assert [row["at_s"] for row in rows] == [0, 0, 1, 2, 2.25, 2.25]
    assert rows[1] == {
        "at_s": 0,
        "event": "figures",
        "rate_per_s": None,
        "good_share": None,
        "p95_ms": None,
        "samples": 3,
    }
    assert (rows[-1]["verdict"], rows[-1]["exit_code"]) == ("FAIL", 1)
