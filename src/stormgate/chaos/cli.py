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
@click.option("--forget", is_flag=True, help="Give up a ledger whose run folder is lost. Look at the target yourself first.")
def restore_command(folder: Path | None, deadline_s: float, force: bool, forget: bool) -> int:
    """Undo every fault that a killed run left behind.

    FOLDER is one run folder; without it, every run of this machine whose faults are not all undone. Exits 0 when everything is
    undone and seen to be, 6 (DIRTY) when something is not.
    """
    from stormgate.chaos import lease, ledger
    from stormgate.chaos.restore import open_ledgers, restore

    if folder is not None and not folder.is_dir():
        raise click.UsageError(f"{folder}: no such run folder (they are below reports/)")
    dirty = False
    folders: list[tuple[str, Path]] = []
    if folder is not None:
        target = ledger.ledger_target(folder)
        folders.append((target.name if target is not None else "", folder))
    else:
        for found in open_ledgers():
            if not found.lost:
                folders.append((found.target, found.folder))
            elif forget:
                ledger.unregister(found.target, found.folder)
                click.echo(f"{found.target}: forgotten ({found.lost})")
            else:
                dirty = True
                click.echo(f"{found.target}: {found.lost}. Look at the target, then: stormgate restore --forget", err=True)
    for name, each in folders:
        held = lease.holder(name) if name else None
        if held is not None and not force and Path(held.folder or ".").resolve() == each.resolve():
            dirty = True
            click.echo(f"{each}: its run is alive (process {held.pid}); stop that, or use --force", err=True)
            continue
        report = restore(each, deadline_s)
        for item in report.undone:
            click.echo(f"undone: {item}")
        for problem in report.problems:
            click.echo(f"NOT undone: {problem}", err=True)
        dirty = dirty or not report.clean
        click.echo(f"{each}: {'clean' if report.clean else 'DIRTY'}: {report.why}")
    if not folders and not dirty:
        click.echo("nothing to restore: no run on this machine has left a fault open")
    return Verdict.DIRTY.exit_code if dirty else 0
