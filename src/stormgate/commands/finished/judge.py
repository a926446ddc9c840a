"""`stormgate judge`: the verdict again, from evidence alone."""

from __future__ import annotations

from pathlib import Path

import click

from stormgate.commands.common import load_plan


@click.command(short_help="Judge a run folder again, or against another gate.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--sla",
    type=click.Path(path_type=Path),
    help="Judge against the objectives of this gate instead of the run's own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print verdict.json instead of the table.")
@click.option(
    "--write/--no-write",
    default=None,
    help="Write the reports into the run folder. [default: only without --sla, and unsealed]",
)
def command(run: Path, sla: Path | None, as_json: bool, write: bool | None) -> int:
    """Judge the evidence in RUN. The same evidence gives a byte-identical verdict.json on any
    machine.
    """
    from stormgate.evidence.manifest import is_sealed
    from stormgate.report import verdict_json
    from stormgate.report.console import print_judgement
    from stormgate.supervise.conclude import judge_folder, rejudged_plan, write_reports

    sealed = is_sealed(run)
    if write and sealed:
        raise click.UsageError(
            f"{run} is sealed: its reports stay as they are. Without --write the verdict is shown; "
            "--json prints it"
        )
    plan = rejudged_plan(run, load_plan(sla, finished=True)) if sla is not None else None
    judgement = judge_folder(run, plan)
    if write if write is not None else sla is None and not sealed:
        write_reports(run, judgement)
    if as_json:
        click.echo(verdict_json(judgement), nl=False)
    else:
        print_judgement(judgement, run)
    return judgement.exit_code
