"""Where instances are born: a process that is forked before anything else happens, and forks each
of them. They die with it, and it with whoever made it.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable

from stormgate.system import processes

_DELAY = struct.Struct("!d")
_PID = struct.Struct("!i")
Serve = Callable[[socket.socket, float], None]


class Born:
    """A process of the nest, never mistaken for another of its pid."""

    def __init__(self, pid: int, start_ticks: int | None) -> None:
        self.pid = pid
        self._start_ticks = start_ticks

    def end(self) -> None:
        """Ask it to end; nothing happens where it is gone."""
        if self._start_ticks is not None:
            processes.signal_if_same(self.pid, self._start_ticks, signal.SIGTERM)


class Nest:
    """`serve(socket, delay)` is an instance's whole life."""

    def __init__(self, serve: Serve) -> None:
        self._line, theirs = socket.socketpair()
        mother = os.getpid()
        if os.fork() == 0:
            self._line.close()
            _forever(lambda: _brood(theirs, serve), mother)
        theirs.close()

    def born(self, sock: socket.socket, delay_s: float) -> Born:
        """One more, which serves on this socket. Raises OSError when the nest is gone."""
        socket.send_fds(self._line, [_DELAY.pack(delay_s)], [sock.fileno()])
        answer = self._line.recv(_PID.size)
        if len(answer) != _PID.size:
            raise ConnectionError("the nest is gone")
        pid: int = _PID.unpack(answer)[0]
        try:
            return Born(pid, processes.pid_start_ticks(pid))
        except OSError:  # ended already
            return Born(pid, None)


def _brood(line: socket.socket, serve: Serve) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    while True:
        asked, fds, _, _ = socket.recv_fds(line, _DELAY.size, 1)
        if not asked or not fds:
            return
        sock = socket.socket(fileno=fds[0])
        mother = os.getpid()
        pid = os.fork()
        if pid == 0:
            line.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            delay_s: float = _DELAY.unpack(asked)[0]
            _forever(lambda: serve(sock, delay_s), mother)  # noqa: B023
        sock.close()
        line.sendall(_PID.pack(pid))


def _forever(run: Callable[[], None], mother: int) -> None:
    """The whole life of a forked process: never returns."""
    code = 1
    try:
        processes.die_with_parent(mother)
        # It was forked out of a running loop, whose wake-ups are not its own.
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        run()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
