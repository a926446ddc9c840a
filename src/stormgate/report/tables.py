"""A judgement as rich renderables: banner, tables, reasons, next steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stormgate.model import Cell, Failure, Finding, Judgement, Plan, Verdict
from stormgate.report.words import (
    MARKS,
    amount,
    count,
    failure_text,
    headline,
    next_steps,
    one_line,
    spared,
    told_of_run,
    untried,
    verdict_word,
    worst_first,
)

COLOURS = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.ERROR: "magenta",
    Verdict.ABORTED: "magenta",
    Verdict.DIRTY: "bold red",
}
CELLS_SHOWN = 5
FAILURES_SHOWN = 5
HEAD = ("Verdict", "Value", "Bound", "Limit", "Samples")
# What a table needs besides its figures: for the names, and between and around its columns.
NAME_WIDTH, GAPS = 12, 19
# Narrower than this a panel would break the verdict.
PANEL_WIDTH = 30


class Style:
    """What a console can show: marks and letters outside its encoding are replaced, never an error
    in the middle of a run.
    """

    def __init__(self, console: Console) -> None:
        self.encoding = console.encoding
        self.width = console.width
        self.unicode = self.encoding.lower().replace("-", "").startswith("utf")

    def safe(self, text: str) -> str:
        return text if self.unicode else text.encode(self.encoding, "replace").decode(self.encoding)

    def mark(self, verdict: Verdict) -> str:
        return f"{MARKS[verdict]} " if self.unicode else ""

    def running(self) -> Text:
        return Text("●" if self.unicode else ">", "cyan")

    def passed(self) -> Text:
        return Text("✔" if self.unicode else "+", "green")

    def dash(self) -> str:
        return "\u2013" if self.unicode else "-"

    def figure(self, value: float | None, unit: str) -> str:
        return self.dash() if value is None else self.safe(amount(value, unit))


def judgement_parts(
    judgement: Judgement, folder: str, style: Style, plan: Plan | None = None
) -> Iterator[tuple[RenderableType, bool]]:
    """The parts in the order they are printed, each with whether its lines must stay whole (paths
    and commands to copy).
    """
    yield Text(""), False
    yield from _banner(judgement, style)
    if judgement.objectives and not _fits(judgement.objectives, style):
        yield from _list(judgement.objectives, style)
        yield Text(""), False
    elif judgement.objectives:
        yield _table("Objective", judgement.objectives, style), False
    else:
        yield Text("  No objective was judged.", "dim"), False
    for told in (*told_of_run(judgement), *spared(judgement), *untried(judgement)):
        yield Padding(Text(style.safe(told), "dim", overflow="fold"), (0, 0, 0, 2)), False
    yield from ((line, False) for line in _reasons(judgement.objectives, style))
    if any(f.verdict is not Verdict.PASS for f in judgement.objectives):
        yield Text(""), False
    if judgement.failures and judgement.verdict is not Verdict.PASS:
        yield from ((line, False) for line in _failures(judgement.failures, style))
        yield Text(""), False
    yield from ((line, False) for line in _validity(judgement.validity, style))
    yield Text(""), False
    yield Text.assemble(("  Evidence  ", "dim"), style.safe(folder)), True
    yield Text.assemble(("  Report    ", "dim"), style.safe(f"{folder}/report.html")), True
    for number, step in enumerate(next_steps(judgement, folder, plan)):
        yield from _step("Next" if number == 0 else "", style.safe(step))


def _step(label: str, step: str) -> Iterator[tuple[RenderableType, bool]]:
    if "`" in step:
        yield Text.assemble((f"  {label:<8}  ", "dim"), step.replace("`", "")), True
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=8)
    grid.add_column(overflow="fold")
    grid.add_row(Text(label, "dim"), Text(step))
    yield Padding(grid, (0, 0, 0, 2), expand=False), False


def _word(finding: Finding | Cell, style: Style) -> Text:
    """A verdict with its mark, never broken at the end of a line."""
    text = f"{style.mark(finding.verdict)}{verdict_word(finding)}"
    return Text(text, COLOURS[finding.verdict], no_wrap=True, overflow="ignore")


def _figures(f: Finding, style: Style) -> tuple[str, ...]:
    figures = (style.figure(value, f.unit) for value in (f.value, f.bound, f.limit))
    return (*figures, count(f.samples))


def _fits(findings: Sequence[Finding], style: Style) -> bool:
    """Whether a table of them has room for its figures and verdicts unbroken, and some for the
    names, which may be.
    """
    rows = [(f"{style.mark(f.verdict)}{verdict_word(f)}", *_figures(f, style)) for f in findings]
    widths = (max(map(len, column)) for column in zip(HEAD, *rows, strict=True))
    return NAME_WIDTH + sum(widths) + GAPS <= style.width


def _list(findings: Sequence[Finding], style: Style) -> Iterator[tuple[RenderableType, bool]]:
    """The objectives one below the other, for a narrow screen: each part, and whether its line must
    stay whole.
    """
    indent = (0, 0, 0, 2 if style.width >= 16 else 0)
    for f in findings:
        yield _word(f, style), True
        yield Padding(Text(style.safe(one_line(f.name)), "bold", overflow="fold"), indent), False
        names = ("value", "bound", "limit", "")
        figures = zip(names, _figures(f, style), strict=True)
        told = ", ".join(f"{name} {figure}".strip() for name, figure in figures)
        yield Padding(Text(f"{told} samples", "dim", overflow="fold"), indent), False


def _banner(judgement: Judgement, style: Style) -> Iterator[tuple[RenderableType, bool]]:
    colour = COLOURS[judgement.verdict]
    waived = " (waived)" if judgement.verdict is Verdict.FAIL and judgement.exit_code == 0 else ""
    text = Text.assemble(
        (
            style.safe(f"{style.mark(judgement.verdict)}{judgement.verdict}{waived}"),
            f"bold {colour}",
        ),
        ("  ", ""),
        (style.safe(headline(judgement)), ""),
    )
    if style.width < PANEL_WIDTH:
        yield text.split("  ")[0], True
        rest = f"{one_line(judgement.gate)}: {headline(judgement)}"
        yield Text(style.safe(rest), overflow="fold"), False
        return
    panel = Panel(
        text,
        title=style.safe(one_line(judgement.gate)),
        title_align="left",
        border_style=colour,
        box=box.ROUNDED if style.unicode else box.ASCII,
        expand=True,
    )
    yield panel, False


def _table(head: str, findings: Sequence[Finding], style: Style) -> RenderableType:
    table = Table(
        box=box.SIMPLE_HEAD if style.unicode else box.ASCII, pad_edge=False, header_style="dim"
    )
    table.add_column(head, overflow="fold", min_width=12)
    table.add_column(HEAD[0], no_wrap=True)
    for name in HEAD[1:]:
        table.add_column(name, justify="right", overflow="fold")
    for f in findings:
        table.add_row(
            Text(style.safe(one_line(f.name))),
            _word(f, style),
            *_figures(f, style),
        )
    return Padding(table, (0, 0, 0, 1), expand=False)


def _reasons(findings: Iterable[Finding], style: Style) -> Iterator[RenderableType]:
    """Why each finding that is not PASS is not, with its worst cells."""
    for f in findings:
        if f.verdict is Verdict.PASS:
            continue
        text = Text.assemble(
            (style.safe(one_line(f.name)), COLOURS[f.verdict]), style.safe(f": {one_line(f.why)}")
        )
        if f.source:
            text.append(style.safe(f"  {one_line(f.source)}"), "dim")
        if f.waived:
            text.append(style.safe(f"\nwaived: {one_line(f.waived)}"), "dim")
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(style.mark(f.verdict).strip() or "-", COLOURS[f.verdict]), text)
        yield Padding(grid, (0, 0, 0, 2), expand=False)
        bad = [cell for cell in worst_first(f.cells) if cell.verdict is not Verdict.PASS]
        # A single cell whose reason is the objective's own would only say it twice.
        if len(bad) > 1 or any(cell.why not in f.why for cell in bad):
            yield Padding(_cells(bad, f.unit, style), (0, 0, 0, 4), expand=False)


def _cells(cells: Sequence[Cell], unit: str, style: Style) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for cell in cells[:CELLS_SHOWN]:
        grid.add_row(
            Text(style.safe(one_line(cell.name)), COLOURS[cell.verdict]),
            style.figure(cell.value, unit),
            Text(style.safe(one_line(cell.why)), "dim"),
        )
    if len(cells) > CELLS_SHOWN:
        grid.add_row(Text(f"and {len(cells) - CELLS_SHOWN} more cells", "dim"), "", "")
    return grid


def _failures(failures: Sequence[Failure], style: Style) -> Iterator[RenderableType]:
    """How requests failed, the ways that decide first."""
    lines = [failure_text(f) for f in failures[:FAILURES_SHOWN]]
    if rest := failures[FAILURES_SHOWN:]:
        times = count(sum(f.count for f in rest))
        lines.append(f"and in {len(rest)} more ways x {times}: report.html, verdict.json")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for number, line in enumerate(lines):
        grid.add_row(Text("Failed" if number == 0 else "", "dim"), Text(style.safe(line)))
    yield Padding(grid, (0, 0, 0, 2), expand=False)


def _validity(findings: Sequence[Finding], style: Style) -> Iterator[RenderableType]:
    """One line when the measurement can be trusted; every rule that says otherwise, with its
    reason.
    """
    if not findings:
        return
    good = [f for f in findings if f.verdict is Verdict.PASS]
    text = Text(f"{len(good)} of {len(findings)} rules of validity hold")
    if len(good) == len(findings):
        text.append(style.safe(": " + ", ".join(one_line(f.name) for f in good)), "dim")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text("Measured", "dim"), text)
    yield Padding(grid, (0, 0, 0, 2), expand=False)
    yield from _reasons(findings, style)
