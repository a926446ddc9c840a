"""`stormgate compare`: two runs, objective by objective."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.report.words import amount, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stormgate.judge.compare import Comparison


@click.command(short_help="Compare two runs, objective by objective.")
@click.argument("run_a", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("run_b", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--confidence", type=click.FloatRange(0.5, 1, max_open=True), default=0.95, show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the comparison as a page.",
)
def command(run_a: Path, run_b: Path, confidence: float, as_json: bool, page: Path | None) -> int:
    """Judge RUN_A and RUN_B again, both against RUN_B's plan, and show what changed from A to B,
    with its interval.

    Informs and never decides: the exit code is 0. To gate on a difference, use an objective of kind
    nonInferiority.
    """
    import json

    from stormgate.evidence import open_run
    from stormgate.judge import judge
    from stormgate.judge.compare import compare
    from stormgate.report.html.comparison import comparison_html

    a, b = open_run(run_a), open_run(run_b)
    if b.plan is None:
        raise click.ClickException(
            f"{run_b}: {'; '.join(b.problems)}\n  fix: name a run folder with its plan.json"
        )
    same_faults = a.plan is not None and {f.name for f in a.plan.faults} == {
        f.name for f in b.plan.faults
    }
    comparison = compare(judge(a, b.plan if same_faults else None), judge(b), confidence)
    if page is not None:
        _write(page, comparison_html(comparison, (run_a.resolve().name, run_b.resolve().name)))
    if as_json:
        click.echo(json.dumps(comparison.to_json(), indent=1))
    elif page is None:
        from stormgate.report.console import screen

        screen().print(render(comparison, (run_a.name, run_b.name)))
    return 0


def _write(page: Path, text: str) -> None:
    from stormgate.system.files import write_atomically

    try:
        write_atomically(page, text)
    except OSError as error:
        raise click.ClickException(
            f"{page} cannot be written: {error.strerror or error}\n  fix: name another file"
        ) from error
    click.echo(f"written: {page}", err=True)


def render(comparison: Comparison, names: tuple[str, str]) -> RenderableType:
    """The comparison as a person reads it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from stormgate.report.html.comparison import signed

    a, b = (one_line(name) for name in names)
    head = f"A {a}: {comparison.verdicts[0]}\nB {b}: {comparison.verdicts[1]}"
    if not comparison.same_plan:
        head += (
            "\nnot judged against the same plan: objectives of the same name may not "
            "measure the same"
        )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("objective", "A", "B", "B - A", "between", ""):
        table.add_column(
            name, justify="left" if name in ("objective", "") else "right", no_wrap=True
        )
    for row in comparison.rows:
        interval = ""
        if row.low is not None and row.high is not None:
            interval = f"{signed(row.low, row.unit)}, {signed(row.high, row.unit)}"
        shown = [amount(value, row.unit) for value in row.values]
        difference = "" if row.difference is None else signed(row.difference, row.unit)
        # That none was shown is what an interval around zero says already.
        quiet = row.telling.startswith("no difference")
        told = "" if quiet else row.telling
        # Names come from folders of anybody: nothing in them is markup, or steers the terminal.
        table.add_row(
            *(Text(one_line(cell)) for cell in (row.name, *shown, difference, interval, told))
        )
    table.caption = f"between: the interval of B - A at {comparison.confidence:g} confidence"
    table.caption_justify = "left"
    return Group(Text(head), Text(""), table)
