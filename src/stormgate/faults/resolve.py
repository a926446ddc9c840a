"""Closing what a person mended by hand: looked at, and with who said so and why."""

from __future__ import annotations

import os
import platform
import pwd
from dataclasses import replace
from pathlib import Path

from stormgate.faults import backends
from stormgate.faults.errors import ChaosError
from stormgate.faults.ledger import Entry
from stormgate.faults.proof import wait_for
from stormgate.faults.provisioned import WHY, is_gone_soon
from stormgate.faults.restore import Opened, RestoreReport, forget, look_into, report_whole
from stormgate.faults.undo import tell_cleared, void_entries
from stormgate.model import Target
from stormgate.net.allow import AllowList
from stormgate.net.guard import holding
from stormgate.system.secrets import with_secrets

_LOOK_S = 5.0


def resolve(
    folder: Path,
    reason: str,
    *,
    trust: bool = False,
    present: Target | None = None,
    unseen: bool = False,
    whole_s: float = 5.0,
) -> RestoreReport:
    """Close every open entry of the run in `folder` that is seen to be whole, without undoing
    anything. With `unseen` also those that cannot be seen to be. Never raises for what it finds.
    """
    opened = look_into(folder, trust=trust, present=present)
    if isinstance(opened, RestoreReport):
        return opened
    with holding(AllowList(opened.context.target.allow)):
        return _close(opened, folder, reason, unseen, whole_s)


def _close(
    opened: Opened, folder: Path, reason: str, unseen: bool, whole_s: float
) -> RestoreReport:
    context, who = opened.context, whoami()
    report = RestoreReport(folder=folder, target=context.target.name)
    if is_gone_soon(context.target):
        void_entries(context, opened.entries)
        return replace(report, void=True, why=WHY)
    closed: list[Entry] = []
    saws: dict[str, str] = {}
    failed = []
    for entry in opened.entries:
        seen, saw = _looked_at(entry)
        if not seen and not unseen:
            failed.append(f"{entry.part.name} ({entry.mode}): not seen to be whole: {saw}")
            continue
        saws[entry.id] = saw if seen else f"not seen to be whole: {saw}"
        try:
            context.ledger.undone(entry, saws[entry.id], by=who, why=reason)
        except (OSError, ValueError) as error:
            failed.append(f"{entry.part.name} ({entry.mode}): the ledger cannot say so: {error}")
        else:
            closed.append(entry)
    left = {entry.instance for entry in opened.entries if entry not in closed}
    for instance in dict.fromkeys(entry.instance for entry in closed):
        if instance not in left:
            own = [entry for entry in closed if entry.instance == instance]
            tell_cleared(context, own, saws, by=who, why=reason)
    words = tuple(f"{entry.part.name} ({entry.mode}), by {who}: {reason}" for entry in closed)
    report = replace(report, undone=words)
    if failed:
        return replace(report, failed=tuple(failed), why="some of it is not seen to be whole")
    forget(folder, context.target.name)
    return report_whole(context, report, whole_s)


def whoami() -> str:
    """The person at this process, as far as the machine knows; not what the environment claims."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    return f"{name}@{platform.node()}"


def _looked_at(entry: Entry) -> tuple[bool, str]:
    try:
        backend = backends.get(entry.part.backend)
        record = with_secrets(entry.record, os.environ)
        seen, _ = wait_for(lambda: backend.is_whole(entry.part, record), _LOOK_S)
    except KeyError as error:
        return False, f"looking needs ${{{error.args[0]}}}, which is not set here: export it"
    except ChaosError as error:
        return False, str(error)
    except Exception as error:  # a record of another version, or a hostile one
        return False, f"{type(error).__name__}: {error}"
    return seen.seen, seen.saw
