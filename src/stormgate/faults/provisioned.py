"""Whether a target that Stormgate had started itself is no more: then nothing is left to undo."""

from __future__ import annotations

import time

from stormgate.faults import backends
from stormgate.model import Component, Target
from stormgate.net.status import read_status

WHY = "nothing left to undo: the lab of this run is gone with all its processes"
# A lab's processes die with its daemon, by the kernel's hand or its own; this is how long that may
# take to be seen.
_DYING_S = 3.0
_ASK_S = 0.5


def is_gone(target: Target) -> bool:
    """None of its processes lives and no server of its links answers.

    Always False for a target that someone else runs: that one may be unreachable, but it is not
    ours to write off.
    """
    if not ours(target) or read_status(target, _ASK_S).reached:
        return False
    by_backend: dict[str, list[Component]] = {}
    for component in target.components:
        by_backend.setdefault(component.backend, []).append(component)
    return all(backends.get(name).are_gone(parts) for name, parts in sorted(by_backend.items()))


def is_gone_soon(target: Target) -> bool:
    """`is_gone`, with time for the processes of a lab that is just dying; at once when it says
    anything of itself.
    """
    if not ours(target) or read_status(target, _ASK_S).reached:
        return False
    end = time.monotonic() + _DYING_S
    while not is_gone(target):
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)
    return True


def ours(target: Target) -> bool:
    """Whether Stormgate starts this target itself."""
    return target.provision is not None and "lab" in target.provision
