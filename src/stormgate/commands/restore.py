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
    from stormgate.faults.restore import OpenLedger, open_ledgers, restore

    try:
        found = open_ledgers()
    except OSError as error:
        click.echo(f"whether anything is still broken is not known: {error}", err=True)
        return Verdict.DIRTY.exit_code
    if folder is not None:
        known = [each for each in found if each.folder == folder.resolve()]
        if not known and not folder.is_dir():
            raise click.UsageError(f"{folder}: no such run folder (they are below reports/)")
        if not known and not _is_run(folder):
            return Verdict.DIRTY.exit_code
        found = known or [OpenLedger("", folder, ())]
    dirty = False
    for each in found:
        if each.lost and forget and each.pointer is not None:
            each.pointer.forget()
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
                f"{each.folder}: its run is alive ({each.owner}); stop that, or use --force",
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
        dirty = not _say_where_it_looked()
    return Verdict.DIRTY.exit_code if dirty else 0


def _is_run(folder: Path) -> bool:
    from stormgate.evidence.write import TIMELINE, UNDO

    marks = (UNDO, TIMELINE, "plan.json")
    if any((folder / name).exists() for name in marks):
        return True
    click.echo(
        f"{folder}: no run was written here (no {UNDO}, {TIMELINE} or plan.json): whether "
        "anything is still broken is not known",
        err=True,
    )
    return False


def _say_where_it_looked() -> bool:
    """False when nothing can be known: no run was ever recorded where this process looks."""
    from stormgate.faults.pointers import pointers
    from stormgate.faults.state import elsewhere, state_path

    here = state_path()
    known = here.is_dir()
    if known:
        click.echo(
            "nothing to restore: no run of this user on this machine has left a fault open "
            f"(looked in {here / 'open'})"
        )
    else:
        click.echo(
            f"{here}: no run was ever recorded there, so whether anything is still broken is not "
            "known. Was the run another user's, or under another XDG_STATE_HOME or HOME?",
            err=True,
        )
    for other in elsewhere():
        try:
            count = len(pointers(state=other))
        except OSError:
            count = -1
        if count:
            told = f"{count} runs are" if count > 0 else "perhaps runs are"
            again = f"XDG_STATE_HOME={other.parent} stormgate restore"
            click.echo(f"{told} recorded in {other}, which was not looked at: {again}", err=True)
    return known
