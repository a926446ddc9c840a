"""Whether a target that Stormgate had started itself is no more: then nothing is left to undo."""

from __future__ import annotations

import time

from stormgate.faults.backends.process import read_pid_file
from stormgate.model import Target
from stormgate.net.status import read_status
from stormgate.system.processes import alive
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.errors import ToxiproxyError

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
    for component in target.components:
        identity = (
            read_pid_file(str(component.handle["pid_file"]))
            if "pid_file" in component.handle
            else None
        )
        if identity is not None and alive(*identity):
            return False
    return not any(
        _answers(url)
        for url in {str(c.handle["url"]) for c in target.components if "url" in c.handle}
    )


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


def _answers(url: str) -> bool:
    try:
        Client(url, _ASK_S).version()
    except ToxiproxyError:
        return False
    return True
