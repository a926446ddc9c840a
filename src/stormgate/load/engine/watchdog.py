"""Watches, from a thread of its own, that users' code lets the engine go on.

A flow that never yields (`while True: pass`) holds up everything in its process: the load, the
evidence and whoever would say so. It is found out by name, ended, and the run with it.
"""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
import threading
from collections.abc import Callable
from types import FrameType

from gevent import monkey

import stormgate

# Locust's monkey-patching makes threads greenlets, of which none runs while a flow does.
_start = monkey.get_original("_thread", "start_new_thread")
_sleep = monkey.get_original("time", "sleep")
HANG_S = 10.0
EXIT_CODE = 70
_CHECKS = 20
_OURS = os.path.dirname(stormgate.__file__) + os.sep
_LIBRARIES = tuple(
    path + os.sep for name, path in sysconfig.get_paths().items() if "lib" in name and path
)


class FlowHungError(BaseException):
    """A user's code has not let go for long: it is ended wherever it is."""


class Watchdog:
    """`beat` changes whenever the engine works; when it has stood still for `hang_s` seconds, of
    which this thread saw each, and the thread that made this is in a user's code, a FlowHungError
    is raised there. `why` then says where that was. Code that does not even end by that ends the
    process.
    """

    def __init__(self, beat: Callable[[], int], hang_s: float = HANG_S) -> None:
        self.why: str | None = None
        self._beat = beat
        self._hang_s = hang_s
        self._watched = threading.get_ident()
        self._is_over = False
        _start(self._watch, ())

    def close(self) -> None:
        """Watch no longer."""
        self._is_over = True

    def _watch(self) -> None:
        last, still = -1, 0
        while not self._is_over:
            _sleep(self._hang_s / _CHECKS)
            beat = self._beat()
            # A process that was stopped as a whole saw no time pass here either.
            still = still + 1 if beat == last else 0
            last = beat
            if still < _CHECKS or self._is_over:
                continue
            place = user_place(sys._current_frames().get(self._watched))
            if place is None:
                continue  # it waits, or is busy with our own: that is said elsewhere
            still = 0
            if self.why is not None:
                os.write(2, f"{self.why}, and cannot be ended\n".encode())
                os._exit(EXIT_CODE)
            self.why = f"{place} has held up its whole load worker for {self._hang_s:g} s"
            error = ctypes.py_object(FlowHungError)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._watched), error)


def user_place(frame: FrameType | None) -> str | None:
    """Where a stack is in users' code: `file:line (function)` of the innermost such place; None
    when it is in none.
    """
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((_OURS, *_LIBRARIES, "<frozen")) and name != sys.argv[0]:
            return f"{name}:{frame.f_lineno} ({frame.f_code.co_name})"
        frame = frame.f_back
    return None
