"""`stormgate evidence`: is a run folder what docs/evidence.md says it should be?"""

from __future__ import annotations

from pathlib import Path

import click


@click.group(short_help="Check a run folder against the format.")
def command() -> None:
    """Run folders: see docs/evidence.md for the format."""


@command.command("check")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
def check(run: Path) -> int:
    """Name every torn block, wrong hash, wrong column and missing file of RUN; exit 1 if there is
    any.
    """
    from stormgate.evidence.check import check_run

    problems = check_run(run)
    for problem in problems:
        click.echo(problem)
    click.echo(f"{run}: {'whole' if not problems else f'{len(problems)} problems'}")
    return 1 if problems else 0
