"""A timer with microsecond resolution as a file descriptor: libev's own are rounded to whole
milliseconds by epoll_wait.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_NS = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """A timerfd on CLOCK_MONOTONIC (Linux). `fd` is readable once it has fired, until
    acknowledged.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self.fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self.fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self._spec = _Itimerspec()
        self._pointer = ctypes.byref(self._spec)
        self._interval_ns = 0

    def set(self, at_ns: int) -> None:
        """Fire once at `at_ns`; a time past fires at once."""
        self._interval_ns = 0
        self._spec.interval.nanoseconds = 0
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(max(1, at_ns), _NS)
        self._settime(self.fd, _TFD_TIMER_ABSTIME, self._pointer, None)

    def tick(self, interval_ns: int) -> None:
        """Fire every `interval_ns` (under a second) from now on; no system call when it already
        does.
        """
        if self._interval_ns != interval_ns:
            self._interval_ns = interval_ns
            self._spec.interval.nanoseconds = interval_ns
            self._spec.value.seconds, self._spec.value.nanoseconds = 0, interval_ns
            self._settime(self.fd, 0, self._pointer, None)

    def acknowledge(self) -> None:
        """Take note that it fired; a ticking timer only goes on then."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
