"""The run as a person sees it in a terminal, and as a CI log keeps it: phases as they pass, then
the verdict and its reasons.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stormgate.model import Judgement, Plan, groups
from stormgate.report.tables import Style, judgement_parts
from stormgate.report.words import DASH, amount, count, one_line, seconds

HEARTBEAT_S = 30.0
FRESH_S = 5.0
PREPARING = ("target", "load")


def planned_phases(plan: Plan) -> list[tuple[str, float | None]]:
    """The phases a run of this plan will have, with their seconds; None: as long as it takes."""
    around = [
        (f"{kind}[{f.name}]", s)
        for f in (one for group in groups(plan.faults) for one in group)
        for kind, s in (("fault", None), ("recovery", f.recovery_s))
    ]
    return [
        *((name, None) for name in PREPARING),
        ("warmup", plan.warmup_s),
        ("steady", plan.steady_s),
        *around,
        ("final", plan.final_s),
    ]


class RunScreen:
    """One run on one console. On a terminal a live view; elsewhere plain lines, each said once.

    Call from one thread: `phase` when one begins, `tick` a few times a second, `event` for what
    happened, `done` at the end.
    """

    def __init__(
        self,
        plan: Plan,
        console: Console | None = None,
        clock: Callable[[], float] | None = None,
        *,
        gate: str | None = None,
    ) -> None:
        """`gate`: its file as it was named here, so that the commands at the end work from here."""
        self._console = console or screen()
        self._clock = clock or self._console.get_time
        self._style = Style(self._console)
        self._plan = plan
        self._named = plan if gate is None else replace(plan, source=gate)
        self._planned = planned_phases(plan)
        self._began = self._clock()
        self._phase: tuple[str, float | None, float] | None = None
        self._past: dict[str, float] = {}
        self._stats: Mapping[str, Any] = {}
        self._last_said = self._began
        self._last_figures = self._began
        self._last_event = ""
        self._live: Live | None = None
        self._open()

    def _open(self) -> None:
        plan, style = self._plan, self._style
        least = sum(s for _, s in self._planned if s)
        title = Text.assemble(
            ("Stormgate ", "bold"),
            style.safe(one_line(plan.gate)),
            (" on ", "dim"),
            style.safe(one_line(plan.target.name)),
        )
        faults = f"{len(plan.faults)} fault{'' if len(plan.faults) == 1 else 's'}"
        rest = (
            f"  {plan.load.rate_per_s:g} requests/s, {faults}, over {seconds(least)}, seed "
            f"{plan.seed}"
        )
        self._console.print(title.append(rest, "dim"), soft_wrap=True)
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                self._view(), console=self._console, auto_refresh=False, transient=False
            )
            self._live.start()
            # Whatever ends the process, the cursor comes back.
            atexit.register(self._stop)

    def phase(self, name: str, seconds: float | None) -> None:
        """A phase begins, planned for so many seconds (None: until it is over). The one before has
        ended.
        """
        now = self._clock()
        self._end_phase(now)
        self._phase = (name, seconds, now)
        self._last_said = now
        if self._live is None:
            self._line(_with_length(name, seconds))
        self._refresh()

    def tick(self, stats: Mapping[str, Any]) -> None:
        """The latest figures: rate_per_s, good_share, p95_ms, samples, each None where nothing was
        measured.
        """
        self._stats = stats
        now = self._clock()
        if self._live is None and now - self._last_said >= HEARTBEAT_S and self._figures():
            self._last_said = self._last_figures = now
            self._line(f"  {self._figures()}")
        self._refresh()

    def event(self, text: str) -> None:
        """Something happened that a reader of the log wants to find. Said at once; the same text
        twice in a row is said once.
        """
        text = one_line(text)
        if text and text != self._last_event:
            self._last_event = text
            self._line(f"  {text}")

    def done(self, judgement: Judgement, folder: Path) -> None:
        """The run is over and judged: the live view stays as it ended, the verdict follows."""
        self._end_phase(self._clock())
        self._refresh()
        self._stop()
        print_judgement(judgement, folder, self._console, self._named)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            atexit.unregister(self._stop)

    def _end_phase(self, now: float) -> None:
        if self._phase is None:
            return
        name, _, began = self._phase
        self._past[name] = now - began
        self._phase = None
        fresh = now - self._last_figures < FRESH_S
        if self._live is None and self._figures() and name not in PREPARING and not fresh:
            self._line(f"  {self._figures()}", now)

    def _line(self, text: str, now: float | None = None) -> None:
        at = (self._clock() if now is None else now) - self._began
        line = Text(f"{at:7.1f} s  ", "dim").append(self._style.safe(text), "none")
        self._console.print(line, soft_wrap=self._live is None)

    def _figures(self) -> str:
        stats = self._stats
        if stats.get("rate_per_s") is None:
            return ""
        return (
            f"{stats['rate_per_s']:.0f} requests/s, {amount(stats.get('good_share'), 'share')} "
            "good, "
            f"p95 {amount(stats.get('p95_ms'), 'ms')}, {count(int(stats.get('samples') or 0))} "
            "samples"
        )

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._view(), refresh=True)

    def _view(self) -> RenderableType:
        now = self._clock()
        grid = Table.grid(padding=(0, 1), expand=False)
        grid.add_column(width=1)
        grid.add_column(overflow="ellipsis", no_wrap=True, max_width=28)
        grid.add_column(width=24)
        grid.add_column(no_wrap=True)
        known = [name for name, _ in self._planned]
        extra = [(name, None) for name in self._past if name not in known]
        for name, planned in [*self._planned, *extra]:
            grid.add_row(*self._row(name, planned, now))
        figures = Text(
            self._style.safe(self._figures() or f"no sample yet {DASH}"),
            "bold" if self._figures() else "dim",
        )
        return Group(grid, Text("  ").append(figures).append(f"  {self._left(now)}", "dim"))

    def _row(self, name: str, planned: float | None, now: float) -> tuple[RenderableType, ...]:
        shown = Text(self._style.safe(one_line(name)))
        if self._phase is not None and self._phase[0] == name:
            _, length, began = self._phase
            spent = now - began
            if length is None:
                bar = ProgressBar(
                    total=None, width=24, pulse=True, animation_time=now, pulse_style="cyan"
                )
                return self._style.running(), shown, bar, Text(seconds(spent))
            bar = ProgressBar(
                total=max(length, 0.001),
                completed=min(spent, length),
                width=24,
                complete_style="cyan",
            )
            left = (
                f"{seconds(length - spent)} left"
                if spent < length
                else f"{seconds(spent - length)} over"
            )
            return self._style.running(), shown, bar, Text(left)
        if name in self._past:
            return self._style.passed(), shown, Text(""), Text(seconds(self._past[name]), "dim")
        shown.stylize("dim")
        return Text(" "), shown, Text(""), Text("" if planned is None else seconds(planned), "dim")

    def _left(self, now: float) -> str:
        total = 0.0
        for name, planned in self._planned:
            if self._phase is not None and self._phase[0] == name:
                total += max(0.0, (planned or 0.0) - (now - self._phase[2]))
            elif name not in self._past:
                total += planned or 0.0
        return f"about {seconds(total)} left" if total and self._past else ""


def screen() -> Console:
    """The console of this process. A width of nothing (`COLUMNS=0`, a terminal that does not say)
    shows nothing; it means 80.
    """
    console = Console(highlight=False)
    if console.width < 1:
        console.width = 80
    return console


def print_judgement(
    judgement: Judgement, folder: Path, console: Console | None = None, plan: Plan | None = None
) -> None:
    """The verdict, the objectives with their figures, the reasons, and what to do next."""
    console = console or screen()
    for part, whole_lines in judgement_parts(judgement, _shown(folder), Style(console), plan):
        console.print(part, soft_wrap=whole_lines)


def _shown(folder: Path) -> str:
    """The folder as it can be typed: relative to the working directory when it lies below."""
    try:
        return str(folder.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(folder)


def _with_length(name: str, length: float | None) -> str:
    return name if length is None else f"{name} ({seconds(length)})"
