"""`stormgate runs`: which runs there are, what they came to, and which may go."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stormgate.evidence.past import PastRun

OLD = timedelta(days=30)
# Fewer runs than this that all passed say nothing of a gate yet.
ENOUGH_RUNS = 5
HEADLINES = 4

reports_option = click.option(
    "--reports",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Where the run folders are.",
)


@click.group(
    invoke_without_command=True, short_help="List the runs, what they came to and which may go."
)
@reports_option
@click.option("--gate", help="Only the runs of this gate.")
@click.option("--json", "as_json", is_flag=True, help="Print the runs as JSON.")
@click.pass_context
def command(ctx: click.Context, reports: Path, gate: str | None, as_json: bool) -> int:
    """List the runs under REPORTS, the newest last: verdict, gate, release, age and the figures of
    their first objectives, as their verdict.json tells. Gates that never failed and proofs older
    than 30 days are named below.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from stormgate.evidence.past import past_runs

    if not reports.is_dir():
        raise click.ClickException(f"{reports}: no such folder\n  fix: --reports FOLDER")
    runs, now = past_runs(reports, gate), datetime.now(UTC)
    if as_json:
        click.echo(
            json.dumps({"runs": [_data(r) for r in runs], "flags": flags(runs, now)}, indent=1)
        )
        return 0
    from stormgate.report.console import screen

    screen().print(_table(runs, now))
    for told in flags(runs, now):
        click.echo(f"  {told}")
    return 0


@command.command("prune", short_help="Remove runs that the rule does not keep.")
@reports_option
@click.option(
    "--days",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Keep what is younger.",
)
@click.option(
    "--keep",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Keep the last so many runs of each gate.",
)
@click.option("--yes", is_flag=True, help="Remove them; without it they are only listed.")
def prune(reports: Path, days: float, keep: int, yes: bool) -> int:
    """Remove run folders that are older than --days and neither among the last --keep of their gate
    nor its last that passed. One whose verdict cannot be read stays, and one with a fault that
    nobody has undone, and one that is not over. Without --yes nothing is touched.
    """
    import shutil

    from stormgate.evidence.past import Keep, past_runs, to_prune

    gone, kept = to_prune(past_runs(reports), Keep(days, keep), datetime.now(UTC)), 0
    for run in gone:
        why = _needed(run.folder)
        if why is not None:
            click.echo(f"kept     {run.name}: {why}")
            kept += 1
            continue
        if not yes:
            click.echo(f"would go {run.name}")
            continue
        try:
            shutil.rmtree(run.folder)
        except OSError as error:
            raise click.ClickException(f"{run.folder} could not be removed: {error}") from error
        click.echo(f"removed  {run.name}")
    told = f"{len(gone) - kept} of the runs under {reports}"
    click.echo(f"{told} {'are gone' if yes else 'would go: --yes removes them'}")
    return 0


def _needed(folder: Path) -> str | None:
    """Why a run folder must stay whatever its age, or None."""
    from stormgate.evidence import open_run
    from stormgate.faults.ledger import open_entries
    from stormgate.model import Event

    try:
        entries = open_entries(folder)
    except (OSError, ValueError) as error:
        return f"its undo ledger cannot be read ({error})"
    if entries:
        return f"{len(entries)} of its faults are not undone: stormgate restore {folder}"
    if not any(row.get("event") == Event.RUN_END for row in open_run(folder).timeline):
        return "its run did not end, or still goes on"
    return None


def flags(runs: list[PastRun], now: datetime) -> list[str]:
    """What is wrong with the gates behind these runs: a gate that never failed may be unable to,
    and an old proof says little of today.
    """
    from stormgate.model import Verdict
    from stormgate.report.words import one_line

    told = []
    for gate in sorted({run.gate for run in runs if run.judgement is not None}):
        mine = [run for run in runs if run.gate == gate]
        passed = [run for run in mine if run.passed]
        failed = [r for r in mine if r.judgement and r.judgement.verdict is Verdict.FAIL]
        if len(mine) >= ENOUGH_RUNS and not failed:
            told.append(
                f"{one_line(gate)} has not failed once in {len(mine)} runs: see that it can "
                "(stormgate prove)"
            )
        if not passed:
            told.append(f"{one_line(gate)} has never passed here")
        elif now - passed[-1].began > OLD:
            age = _age(now - passed[-1].began)
            told.append(f"{one_line(gate)} last passed {age} ago: that proof is old")
        told += _proved(gate, mine, now)
    return told


def _proved(gate: str, runs: list[PastRun], now: datetime) -> list[str]:
    """What the last run of a gate knew of its objectives' proofs, as old as they are now."""
    from dataclasses import replace

    from stormgate.report.words import one_line, proved

    known = [run.judgement for run in runs if run.judgement and run.judgement.proofs is not None]
    if not known:
        return []
    last = known[-1]
    aged = []
    for proof in last.proofs or ():
        try:
            days = (now - datetime.fromisoformat(proof.utc)).days
        except (ValueError, TypeError):
            days = proof.days
        aged.append(replace(proof, days=max(0, days)))
    return [f"{one_line(gate)}: {line}" for line in proved(replace(last, proofs=tuple(aged)))]


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    if hours < 1:
        return f"{max(0, round(hours * 60))} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _data(run: PastRun) -> dict[str, object]:
    judged = run.judgement
    return {
        "run": run.name,
        "began": run.began.isoformat(),
        "gate": run.gate,
        "verdict": judged.verdict.value if judged is not None else None,
        "release": run.release,
        "problem": run.problem,
        "objectives": [
            {
                "name": f.name,
                "verdict": f.verdict.value,
                **{k: _finite(getattr(f, k)) for k in ("value", "bound", "limit")},
                "unit": f.unit,
            }
            for f in (judged.objectives if judged is not None else ())
        ],
    }


def _finite(value: float | None) -> float | None:
    import math

    return value if value is not None and math.isfinite(value) else None


def _table(runs: list[PastRun], now: datetime) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from stormgate.report.tables import COLOURS
    from stormgate.report.words import MARKS, amount, one_line

    if not runs:
        return Text("  No run yet.")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("verdict", "gate", "release", "age", "figures", "run"):
        table.add_column(title, overflow="fold")
    for run in runs:
        judged = run.judgement
        if judged is None:
            row = [Text("unreadable", "magenta"), Text(""), Text(""), Text(_age(now - run.began))]
            table.add_row(*row, Text(one_line(run.problem)), Text(run.name))
            continue
        verdict = Text(f"{MARKS[judged.verdict]} {judged.verdict}", COLOURS[judged.verdict])
        told = ", ".join(
            f"{one_line(f.name)} {amount(f.value, f.unit)}" for f in judged.objectives[:HEADLINES]
        )
        words = (run.gate, run.release, _age(now - run.began), told, run.name)
        table.add_row(verdict, *(Text(one_line(word)) for word in words))
    return table
