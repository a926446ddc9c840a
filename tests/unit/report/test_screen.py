"""The run on a screen: plain lines in a log, each said once; a live view on a terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from tests.golden.report_cases import CASES, plan

from stormgate.model import Verdict
from stormgate.report.console import RunScreen, planned_phases

STATS: dict[str, Any] = {"rate_per_s": 398.2, "good_share": 1.0, "p95_ms": 31.4, "samples": 1600}


class Clock:
    """A clock that is set by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run_through(screen: RunScreen, clock: Clock) -> None:
    """A whole run at four ticks a second, with an event said by two components."""
    for name, planned in planned_phases(plan()):
        screen.phase(name, planned)
        for _ in range(4 * int(planned or 2)):
            clock.now += 0.25
            screen.tick(
                {**STATS, "samples": int(clock.now * 100)} if name not in {"target", "load"} else {}
            )
        if name.startswith("fault"):
            screen.event("region-loss: crash eu-west requested")
            screen.event("region-loss: crash eu-west requested")
    screen.done(CASES[Verdict.PASS], Path("reports/x"))


def plain() -> tuple[str, Clock]:
    out, clock = io.StringIO(), Clock()
    run_through(
        RunScreen(
            plan(), Console(file=out, width=80, force_terminal=False, highlight=False), clock
        ),
        clock,
    )
    return out.getvalue(), clock


def test_a_log_names_each_phase_once_and_repeats_nothing() -> None:
    text, _ = plain()
    assert "\x1b" not in text
    lines = text.splitlines()
    for name, _ in planned_phases(plan()):
        assert (
            len(
                [
                    line
                    for line in lines
                    if re.fullmatch(rf" *[0-9.]+ s  {re.escape(name)}( \(.*\))?", line)
                ]
            )
            == 1
        ), name
    said = [line for line in lines if line.strip() and "─" not in line]
    assert len(said) == len(set(said))
    assert sum("crash eu-west requested" in line for line in lines) == 1


def test_a_log_stays_short_and_carries_figures() -> None:
    text, clock = plain()
    figures = [line for line in text.splitlines() if "requests/s, 100 % good, p95 31.4 ms" in line]
    assert 4 <= len(figures) <= 8
    assert clock.now > 150


def test_a_long_phase_gives_a_sign_of_life() -> None:
    out, clock = io.StringIO(), Clock()
    screen = RunScreen(plan(), Console(file=out, force_terminal=False, highlight=False), clock)
    screen.phase("steady", 600)
    for _ in range(2400):
        clock.now += 0.25
        screen.tick({**STATS, "samples": int(clock.now)})
    assert len(re.findall("398 requests/s", out.getvalue())) == 20


def test_a_terminal_shows_the_phase_its_progress_and_the_time_left() -> None:
    out, clock = io.StringIO(), Clock()
    console = Console(
        file=out, width=80, height=30, force_terminal=True, color_system="standard", highlight=False
    )
    screen = RunScreen(plan(), console, clock)
    screen.phase("warmup", 8)
    clock.now += 8
    screen.phase("steady", 30)
    clock.now += 12
    screen.tick(STATS)
    view = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert re.search(r"✔ warmup +8 s", view)
    assert re.search(r"● steady +[━╸╺]+ +18 s left", view)
    assert "398 requests/s, 100 % good, p95 31.4 ms, 1,600 samples" in view
    assert "about 45 s left" in view
    assert max(len(line.rstrip()) for line in view.splitlines()) <= 80
    clock.now += 25
    screen.tick(STATS)
    assert "7 s over" in out.getvalue()
    screen.event("region-loss: crash eu-west requested")
    screen.done(CASES[Verdict.FAIL], Path("reports/x"))
    assert "\x1b[?25h" in out.getvalue(), "the cursor is shown again"


def test_hostile_names_do_not_reach_the_terminal() -> None:
    out = io.StringIO()
    screen = RunScreen(plan(), Console(file=out, force_terminal=False, highlight=False), Clock())
    screen.event("evil \x1b]0;title\x07 [bold]markup[/bold]\nsecond line")
    assert "\x1b" not in out.getvalue()
    assert "[bold]markup[/bold] second line" in out.getvalue()


def test_an_ascii_log_is_not_an_error() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    clock = Clock()
    run_through(
        RunScreen(
            plan(), Console(file=out, width=80, force_terminal=False, highlight=False), clock
        ),
        clock,
    )
    out.flush()
    assert b"PASS" in raw.getvalue()


def test_the_command_at_the_end_works_from_where_the_gate_was_started() -> None:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=100, force_terminal=False, highlight=False)
    screen = RunScreen(plan(), console, clock, gate="my/suite/slas/release.yaml")
    screen.done(CASES[Verdict.INCONCLUSIVE], Path("reports/x"))
    assert "stormgate gate my/suite/slas/release.yaml" in out.getvalue()
