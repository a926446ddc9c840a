"""`stormgate restore`: undo whatever runs on this machine left broken."""

from __future__ import annotations

from pathlib import Path

import click

from stormgate.model import Verdict


@click.command("restore")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--deadline",
    "deadline_s",
    default=60.0,
    show_default=True,
    help="Seconds to undo, verify and wait until the target is whole.",
)
@click.option("--force", is_flag=True, help="Also when the run is still alive.")
@click.option(
    "--forget",
    is_flag=True,
    help="Give up a ledger whose run folder is lost. Look at the target yourself first.",
)
def restore_command(folder: Path | None, deadline_s: float, force: bool, forget: bool) -> int:
    """Undo every fault that a killed run left behind.

    FOLDER is one run folder; without it, every run of this machine whose faults are not all undone.
    Exits 0 when everything is undone and seen to be, 6 (DIRTY) when something is not.
    """
    from stormgate.evidence.write import TIMELINE, UNDO
    from stormgate.faults import ledger
    from stormgate.faults.restore import OpenLedger, open_ledgers, restore
    from stormgate.faults.state import state_dir

    if folder is not None and not folder.is_dir():
        raise click.UsageError(f"{folder}: no such run folder (they are below reports/)")
    found = open_ledgers()
    if folder is not None and not any(
        (folder / name).exists() for name in (UNDO, TIMELINE, "plan.json")
    ):
        click.echo(
            f"{folder}: no run was written here (no {UNDO}, {TIMELINE} or plan.json): whether "
            "anything is still broken is not known",
            err=True,
        )
        return Verdict.DIRTY.exit_code
    if folder is not None:
        known = [each for each in found if each.folder == folder.resolve()]
        found = known or [OpenLedger("", folder, ())]
    dirty = False
    for each in found:
        if each.lost and forget:
            ledger.unregister(each.target, each.folder)
            click.echo(f"{each.target}: forgotten ({each.lost})")
        elif each.lost:
            dirty = True
            click.echo(
                f"{each.target}: {each.lost}. Look at the target, then: stormgate restore --forget",
                err=True,
            )
        elif each.owner is not None and not force:
            dirty = True
            click.echo(
                f"{each.folder}: its run is alive (process {each.owner}); stop that, or use "
                "--force",
                err=True,
            )
        else:
            report = restore(each.folder, deadline_s)
            for item in report.undone:
                click.echo(f"undone: {item}")
            for problem in report.problems:
                click.echo(f"NOT undone: {problem}", err=True)
            dirty = dirty or not report.clean
            click.echo(f"{each.folder}: {'clean' if report.clean else 'DIRTY'}: {report.why}")
    if not found:
        click.echo(
            "nothing to restore: no run of this user on this machine has left a fault open "
            f"(looked in {state_dir() / 'open'})"
        )
    return Verdict.DIRTY.exit_code if dirty else 0
