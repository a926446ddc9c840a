"""A failed run again: written as a gate, played, and held against what it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.commands.common import refuse
from stormgate.commands.hold import held
from stormgate.commands.reproduce.prepare import (
    Replayable,
    ReplayRequest,
    differences,
    found,
    written_plan,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stormgate.model import Judgement, Plan
    from stormgate.reproduce.answer import Reproduction, SideBySide

RESULT = "reproduction.json"
TABLE = "reproduction.md"


def reproduce(wanted: ReplayRequest) -> int:
    """Play it again; the answer's exit code."""
    from stormgate.reproduce.answer import compare

    known = found(wanted)
    gate, plan = _written(known)
    failed = ", ".join(one.name for one in known.run.failed)
    click.echo(f"playing {known.run.folder.name} again ({failed} failed): {gate}")
    judgement, folder = play(plan, known, gate)
    answer = compare(
        known.judgement, judgement, (known.run.folder.name, folder.name), wanted.tolerance
    )
    _tell(answer, known.place.folder)
    return answer.answer.exit_code


def shrunk(wanted: ReplayRequest, minutes: float, objective: str | None, flaky: float) -> int:
    """Shrink it to its cause; the exit code."""
    from stormgate.commands.reproduce.shrinking import chosen, shrink

    known = found(wanted)
    finding = chosen(known, objective)
    _, plan = _written(known)
    return shrink(known, plan, minutes, finding, flaky)


def kept(wanted: ReplayRequest) -> int:
    """Stay at its worst moment; the exit code."""
    from stormgate.commands.reproduce.holding import hold

    known = found(wanted)
    _, plan = _written(known)
    return hold(known, plan)


def _written(known: Replayable) -> tuple[Path, Plan]:
    """Everything again as a gate: its file and its plan."""
    from stormgate.reproduce import suite

    said = f"The failed run {known.run.folder.name} again. Written by: stormgate reproduce"
    texts = suite.texts(known.run.plan, known.run.trials, known.place, prefix="again", said=said)
    gate, plan = written_plan(known.place, texts, known.root)
    for line in differences(known):
        click.echo(f"not as it was: {line}", err=True)
    return gate, plan


def play(plan: Plan, known: Replayable, gate: Path) -> tuple[Judgement, Path]:
    """One run of the plan on its target, held while it lasts, with the defect that was planted."""
    return run_gate(plan, known.root, gate, known.run.lab_defect)


def run_gate(plan: Plan, root: Path, gate: Path, lab_defect: str | None) -> tuple[Judgement, Path]:
    """One run of a plan on its target, held while it lasts; a defect is planted in a lab of its
    own alone.
    """
    from stormgate.net.references import unset_references
    from stormgate.report.console import RunScreen
    from stormgate.supervise.attempts import try_plan
    from stormgate.supervise.hush import know_plan
    from stormgate.supervise.supervisor import Supervisor
    from stormgate.supervise.terms import Options

    if unset := unset_references(plan.target, os.environ):
        refuse(f"{plan.target.name!r} refers to unset variables: {', '.join(unset)}", "export them")
    know_plan(plan, root)
    reports = root / "reports"
    defect = lab_defect if plan.target.provision is not None else None
    options = Options(root=root, reports=reports, lab_defect=defect)
    folders: list[Path] = []

    def one(tried: Plan) -> tuple[Judgement, Path]:
        judgement, folder = Supervisor(tried, options, RunScreen(tried, gate=str(gate))).run()
        folders.append(folder)
        return judgement, folder

    with held(plan, reports):
        try:
            judgement = try_plan(plan, one, click.echo)
        except OSError as error:
            raise click.ClickException(f"no run folder could be made: {error}") from error
    return judgement, folders[-1]


def _tell(answer: Reproduction, folder: Path) -> None:
    from stormgate.report.console import screen
    from stormgate.system.files import write_atomically

    try:
        write_atomically(folder / RESULT, json.dumps(answer.to_json(), indent=1) + "\n")
        write_atomically(folder / TABLE, markdown(answer))
    except OSError as error:
        click.echo(f"the comparison could not be written: {error}", err=True)
    screen().print(table(answer))
    click.echo(f"{answer.answer.value}: {answer.why}")
    click.echo(f"side by side: {folder / TABLE}")


def table(answer: Reproduction) -> RenderableType:
    """Both runs, objective by objective, as a terminal shows them."""
    from rich.table import Table
    from rich.text import Text

    from stormgate.report.words import one_line

    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in _HEAD:
        made.add_column(name, justify="left" if name in ("objective", "") else "right")
    for row in (*answer.rows, *answer.others):
        made.add_row(*(Text(one_line(cell)) for cell in _cells(row)))
    return made


def markdown(answer: Reproduction) -> str:
    """The same as a table in Markdown, below the answer."""
    lines = [
        f"# {answer.answer.value}: {answer.why}",
        "",
        f"then: `{answer.runs[0]}` ({answer.verdicts[0]}), now: `{answer.runs[1]}` "
        f"({answer.verdicts[1]})",
        "",
        "| " + " | ".join(_HEAD) + " |",
        "|" + "---|" * len(_HEAD),
    ]
    for row in (*answer.rows, *answer.others):
        cells = (cell.replace("|", "\\|").replace("\n", " ") for cell in _cells(row))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


_HEAD = ("objective", "limit", "then", "", "now", "between", "verdict")


def _cells(row: SideBySide) -> tuple[str, ...]:
    from stormgate.report.words import amount

    failed = row.verdicts[0] == "FAIL"
    between = ""
    if failed and row.low is not None and row.high is not None:
        between = f"{amount(row.low, row.unit)} and {amount(row.high, row.unit)}"
    return (
        row.objective,
        "" if row.limit is None else amount(row.limit, row.unit),
        amount(row.values[0], row.unit),
        row.verdicts[0],
        amount(row.values[1], row.unit),
        between,
        f"{row.verdicts[1] or 'not judged'}{f': {row.answer.value}' if failed else ''}",
    )
