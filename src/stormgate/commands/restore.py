"""`stormgate restore`: undo whatever runs on this machine left broken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stormgate.model import Verdict

if TYPE_CHECKING:
    from stormgate.faults.restore import OpenLedger, RestoreReport
    from stormgate.model import Target


@dataclass(frozen=True, slots=True)
class _How:
    """The options of the command."""

    deadline_s: float
    force: bool
    forget: bool
    trust: bool
    target_file: Path | None
    resolved: str | None
    components: tuple[str, ...]
    faults: tuple[str, ...]
    cluster: bool
    watch_s: float | None

    def check(self, folder: Path | None) -> None:
        """Raises click.UsageError for options that contradict each other."""
        if self.resolved is not None and not self.resolved.strip():
            raise click.UsageError("--resolved: say what you did, for whoever reads the run")
        if (self.trust or self.resolved) and folder is None:
            raise click.UsageError("--trust and --resolved are for one run: name its FOLDER")
        if self.cluster and (folder is not None or self.target_file is None):
            raise click.UsageError(
                "--cluster looks at the target itself: name it by --target, and no FOLDER"
            )
        if self.watch_s is not None and (not self.cluster or self.force):
            raise click.UsageError("--watch is for --cluster, and undoes only what nobody holds")
        if (self.components or self.faults) and (self.resolved is not None or self.forget):
            raise click.UsageError(
                "--component and --fault choose what to undo: not with --resolved or --forget"
            )


@click.command("restore")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--deadline",
    "deadline_s",
    default=60.0,
    show_default=True,
    help="Seconds to undo, verify and wait until the target is whole.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Also when the run is still alive; with --resolved also what cannot be seen to be whole.",
)
@click.option(
    "--forget",
    is_flag=True,
    help="Give up a ledger whose run folder is lost. Look at the target yourself first.",
)
@click.option(
    "--trust",
    is_flag=True,
    help="Play a ledger that this user did not write on this machine. Read first what it runs.",
)
@click.option(
    "--target",
    "target_file",
    type=click.Path(path_type=Path),
    help="Undo with the commands and addresses that this target document has today.",
)
@click.option(
    "--resolved",
    metavar="REASON",
    help="Undo nothing: close what you mended by hand, once it is seen to be whole.",
)
@click.option(
    "--component",
    "components",
    multiple=True,
    metavar="NAME",
    help="Undo only what is broken of this component (or region); repeatable.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME",
    help="Undo only what this fault of the gate broke; repeatable.",
)
@click.option(
    "--cluster",
    is_flag=True,
    help="Undo what the target of --target itself is marked with (kubernetes), without a ledger.",
)
@click.option(
    "--watch",
    "watch_s",
    type=click.FloatRange(min=1, max=3600),
    metavar="SECONDS",
    help="With --cluster: look again every so often, until stopped, and undo what a run left that "
    "no longer renews its lease (a dead man's switch).",
)
def restore_command(folder: Path | None, **given: Any) -> int:
    """Undo every fault that a killed run left behind.

    FOLDER is one run folder; without it, every run of this user on this machine whose faults are
    not all undone. Exits 0 when everything is undone and seen to be, 6 (DIRTY) when something is
    not or nobody can tell. docs/runbook-dirty.md says what to do then.
    """
    from stormgate.faults.restore import OpenLedger, open_ledgers

    how = _How(**given)
    how.check(folder)
    present = _load_target(how.target_file) if how.target_file is not None else None
    if how.cluster and present is not None:
        return _marked(present, how) if how.watch_s is None else _watch(present, how)
    try:
        found = open_ledgers(None if present is None or folder else present.name)
    except OSError as error:
        _say(f"whether anything is still broken is not known: {error}", err=True)
        return Verdict.DIRTY.exit_code
    if folder is not None:
        known = [each for each in found if each.folder == folder.resolve()]
        if not known and not folder.is_dir():
            raise click.UsageError(f"{folder}: no such run folder (they are below reports/)")
        if not known and not _is_run(folder):
            return Verdict.DIRTY.exit_code
        found = known or [OpenLedger("", folder, ())]
    clean = True
    for each in found:
        if each.lost:
            clean = _lost(each, how) and clean
        elif each.owner is not None and not how.force:
            clean = False
            _say(
                f"{each.folder}: its run is alive ({each.owner}); stop that, or use --force",
                err=True,
            )
        else:
            clean = _one(each.folder, how, present) and clean
    if not found:
        clean = _say_where_it_looked()
    return 0 if clean else Verdict.DIRTY.exit_code


def _marked(target: Target, how: _How) -> int:
    """Undo what the target's own objects say is broken; the exit code."""
    from stormgate.faults.errors import NoTarget
    from stormgate.faults.looks.leftovers import undo_left

    try:
        found = undo_left(target, how.deadline_s, force=how.force, say=_say)
    except NoTarget as error:
        raise click.ClickException(str(error)) from None
    if not found.looked:
        raise click.UsageError(f"no component of target {target.name!r} is marked when broken")
    for item in found.undone:
        _say(f"undone: {item}")
    for problem in found.failed:
        _say(f"NOT undone: {problem}", err=True)
    if not found.undone and not found.failed:
        _say(f"nothing of ours is marked where the components of {target.name!r} are")
    return Verdict.DIRTY.exit_code if found.failed else 0


def _watch(target: Target, how: _How) -> int:
    """Look and undo until somebody stops us. What cannot be undone, or looked at, is told when it
    changes, and tried again.
    """
    import time

    from stormgate.faults.errors import NoTarget
    from stormgate.faults.looks.leftovers import undo_left

    told: tuple[str, ...] | None = None
    while True:
        try:
            found = undo_left(target, how.deadline_s, say=_say)
        except NoTarget as error:
            raise click.ClickException(str(error)) from None
        if not found.looked:
            raise click.UsageError(f"no component of target {target.name!r} is marked when broken")
        for item in found.undone:
            _say(f"undone: {item}")
        if found.failed != told:
            told = found.failed
            for problem in told:
                _say(f"NOT undone: {problem}", err=True)
            if not told:
                _say(f"nothing is marked where the components of {target.name!r} are; watching")
        time.sleep(float(how.watch_s or 0))


def _one(folder: Path, how: _How, present: Target | None) -> bool:
    """Restore one run, or close it; whether it is clean afterwards."""
    from stormgate.faults.admit import review
    from stormgate.faults.resolve import resolve
    from stormgate.faults.restore import Only, restore

    try:
        looked = review(folder)
        if looked.doubt is not None:
            for line in looked.commands:
                _say(f"would run or contact: {line}", err=True)
    except (OSError, ValueError):
        pass  # restoring says why
    if how.resolved is not None:
        reason = how.resolved.strip()
        closed = resolve(folder, reason, trust=how.trust, present=present, unseen=how.force)
        return _tell(closed, "closed")
    chosen = Only(how.components, how.faults) if how.components or how.faults else None
    report = restore(
        folder,
        how.deadline_s,
        trust=how.trust,
        present=present,
        only=chosen,
        say=lambda text: _say(text, err=True),
    )
    return _tell(report, "undone")


def _tell(report: RestoreReport, word: str) -> bool:
    for item in report.undone:
        _say(f"{word}: {item}")
    for problem in report.problems:
        _say(f"NOT {word}: {problem}", err=True)
    _say(f"{report.folder}: {'clean' if report.clean else 'DIRTY'}: {report.why}")
    return report.clean


def _lost(each: OpenLedger, how: _How) -> bool:
    if (how.forget or how.resolved is not None) and each.pointer is not None:
        each.pointer.forget()
        _say(f"{each.target}: forgotten ({each.lost}){f': {how.resolved}' if how.resolved else ''}")
        return True
    _say(f"{each.target}: {each.lost}. Look at the target, then: stormgate restore --forget", True)
    return False


def _load_target(path: Path) -> Target:
    from stormgate.documents import DocumentErrors, load_target

    try:
        return load_target(path)
    except DocumentErrors as errors:
        raise click.ClickException(str(errors)) from None


def _is_run(folder: Path) -> bool:
    from stormgate.evidence.write import TIMELINE, UNDO

    marks = (UNDO, TIMELINE, "plan.json")
    if any((folder / name).exists() for name in marks):
        return True
    _say(
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
        _say(
            "nothing to restore: no run of this user on this machine has left a fault open "
            f"(looked in {here / 'open'})"
        )
    else:
        _say(
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
            _say(f"{told} recorded in {other}, which was not looked at: {again}", err=True)
    return known


def _say(text: str, err: bool = False) -> None:
    """What a ledger holds is somebody's text: nothing in it may steer the terminal."""
    from stormgate.report.words import one_line

    click.echo(one_line(text), err=err)
