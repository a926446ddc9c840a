"""The transport compiled from C (`*.c` beside this file), where it could be built: sockets, their
deadlines and each send at its time in a thread of its own that never holds the interpreter's lock.
"""

from __future__ import annotations

try:
    from stormgate.load.engine.core import _core as native
except ImportError as error:  # not built, or not for this machine
    native = None  # type: ignore[assignment]
    why_not = str(error)
else:
    why_not = ""

__all__ = ["native", "why_not"]
