"""Undoing what the system itself says is broken, when no ledger is at hand: the machine that broke
it is gone, or its run folder is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from stormgate.faults import backends
from stormgate.faults.context import refuse_strangers
from stormgate.faults.errors import ChaosError
from stormgate.faults.proof import wait_for
from stormgate.model import Component, Target
from stormgate.net.allow import AllowList
from stormgate.net.guard import holding

_LEAST_S = 2.0


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was found marked, and what came of it, one line each; `looked`: the backends that were
    asked, `alive` of the failed were left to a run that is.
    """

    looked: tuple[str, ...]
    undone: tuple[str, ...]
    failed: tuple[str, ...]
    alive: int = 0


def undo_left(
    target: Target,
    deadline_s: float,
    *,
    force: bool = False,
    say: Callable[[str], object] = str,
) -> Leftovers:
    """Undo everything that is marked where the target's components are. `force`: also where its run
    is still alive. Raises NoTarget for a host that is not allowed; never for what it finds.
    """
    refuse_strangers(target)
    end = time.monotonic() + deadline_s
    names = sorted({component.backend for component in target.components})
    looked: list[str] = []
    undone: list[str] = []
    failed: list[str] = []
    alive = 0
    with holding(AllowList(target.allow)):
        for name in names:
            backend = backends.get(name)
            if type(backend).left is backends.Backend.left:
                continue
            looked.append(name)
            found: list[tuple[Component, backends.Record, str | None]] = []
            try:
                # What was told before nobody could tell more is undone all the same.
                for one in backend.left(target):
                    found.append(one)
            except (ChaosError, ValueError) as error:
                failed.append(f"{name}: {error}")
            for part, record, holder in found:
                told = f"{part.name} ({record.get('mode')}, run {record.get('run')})"
                if holder is not None and not force:
                    alive += 1
                    failed.append(f"{told}: its run is alive ({holder}): stop that, or use --force")
                    continue
                say(f"found: {told}")
                seen, saw = _undo(backend, part, record, end)
                (undone if seen else failed).append(f"{told}: {saw}")
    return Leftovers(tuple(looked), tuple(undone), tuple(failed), alive)


def _undo(
    backend: backends.Backend, part: Component, record: backends.Record, end: float
) -> tuple[bool, str]:
    left_s = max(end - time.monotonic(), _LEAST_S)
    try:
        backend.undo(part, record, left_s)
        left_s = max(end - time.monotonic(), _LEAST_S)
        seen, _ = wait_for(lambda: backend.is_whole(part, record), left_s, pause_s=0.2)
    except ChaosError as error:
        return False, str(error)
    except (KeyError, TypeError, ValueError) as error:
        return False, f"its record makes no sense: {type(error).__name__}: {error}"
    return seen.seen, seen.saw
