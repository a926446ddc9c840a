"""A shared target is held while a gate is on it: refused when it still carries faults, or when
somebody else's run is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stormgate.commands.common import refuse

if TYPE_CHECKING:
    from stormgate.model import Plan, Target


@contextlib.contextmanager
def held(plan: Plan, reports: Path) -> Iterator[None]:
    """Hold the plan's target for the block. See `held_target`."""
    with held_target(plan.target, reports, breaks=bool(plan.faults)):
        yield


@contextlib.contextmanager
def held_target(target: Target, reports: Path, *, breaks: bool = True) -> Iterator[None]:
    """Hold a target for the block. Ends with exit code 2, nothing touched, when it carries faults,
    is held by another run, or what is broken could not be remembered; or, for one who `breaks`,
    when somebody ordered that nothing is broken.
    """
    from stormgate.faults import lease, restore
    from stormgate.faults.errors import LeaseHeld
    from stormgate.faults.hands.halt import standing
    from stormgate.faults.state import HOW_TO_KEEP_STATE, require_writable

    if breaks and (order := standing()) is not None:
        refuse(str(order), "stormgate resume --reason TEXT")
    # A lab of our own starts empty; a shared target may still carry the faults, or the run, of
    # somebody else.
    shared = target.provision is None
    lock = None
    try:
        require_writable()
        ledgers = restore.open_ledgers(target.name) if shared else []
    except OSError as error:
        refuse(f"what is broken could not be remembered: {error}", HOW_TO_KEEP_STATE)
    for ledger in ledgers:
        broken = ledger.lost or f"{', '.join(ledger.open)} of {ledger.folder}"
        refuse(
            f"target {target.name!r} still carries faults: {broken}",
            "stormgate restore" if ledger.lost else f"stormgate restore {ledger.folder}",
        )
    if shared:
        try:
            lock = lease.acquire(target.name, folder=reports)
        except LeaseHeld as error:
            refuse(str(error), "wait for that run to end, or stop it")
    try:
        yield
    finally:
        if lock is not None:
            lease.release(lock)
