"""The gate at the socket: in a process that runs other people's code nothing is sent outside the
target's `allow` list, whichever client sends it.

An audit hook of the interpreter sees every connect, sendto and sendmsg of every Python client
before the kernel does. It cannot see sockets that a C library opens by itself (libpq, gRPC, c-ares)
nor those of child processes; docs/faults.md says so.
"""

from __future__ import annotations

import _socket
import atexit
import contextlib
import functools
import ipaddress
import itertools
import os
import socket
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from stormgate.net.allow import AllowList, NotAllowedError

_SENDS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
# These never leave the machine: sockets of files, of the kernel, of its ciphers.
_LOCAL = frozenset(
    int(getattr(socket, name))
    for name in ("AF_UNIX", "AF_NETLINK", "AF_ALG")
    if hasattr(socket, name)
)
_INTERNET = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})
# What the socket module itself makes of these two words.
_WORDS = {"": "0.0.0.0", "<broadcast>": "255.255.255.255"}  # noqa: S104
_MOST_KEPT = 1000
_PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})
_OURS = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple(
    str(path) + os.sep
    for path in {
        _OURS,
        os.path.dirname(os.__file__),
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    }
)
_ROOMS = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))

_activity: ContextVar[str | None] = ContextVar("activity", default=None)


class PacketRefusedError(NotAllowedError, PermissionError):
    """Something meant to send outside the target's `allow` list. An OSError too, as a firewall's
    answer would be, so that clients take it for a failure of theirs.
    """


@dataclass(frozen=True, slots=True)
class Refusal:
    """`who` (file:line outside libraries, or the activity) meant to send to `where` (host:port),
    `count` more times since it was last told.
    """

    who: str
    where: str
    count: int


class SocketGuard:
    """Decides about each address, counts what it refuses, and tells: the first of each who and
    where, then the second, the fourth and so on, and the rest at `flush`. The counts told add up.
    """

    def __init__(self, allow: AllowList, tell: Callable[[Refusal], None]) -> None:
        """`tell` may be called in any thread; what it raises is dropped."""
        self._allow = allow
        self._tell = tell
        # No lock: under gevent one lock cannot serve both greenlets and native threads. Each
        # operation on these is one step of the interpreter.
        self._learned: dict[str, str] = {}
        self._verdicts: dict[str, bool] = {}
        self._names: dict[str, str] = {}
        self._counters: dict[tuple[str, str], Iterator[int]] = {}
        self._totals: dict[tuple[str, str], int] = {}

    def refused(self) -> dict[tuple[str, str], int]:
        """How often so far, by who and where."""
        return dict(self._totals)

    def check(self, event: str, sock: Any, address: Any) -> None:
        """One audited call. Raises PacketRefusedError."""
        if address is None:
            return  # a connected socket: it was looked at when it connected
        family = int(sock.family)
        if family in _LOCAL:
            return
        if family not in _INTERNET:
            self._refuse(f"address family {family} {address!r}")
        host = _text(address[0])
        if host is None or not self.permits(host):
            name = self._names.get(str(host))
            told = f"{name} ({host})" if name else f"[{host}]" if ":" in str(host) else str(host)
            self._refuse(f"{told}:{address[1]}")

    def permits(self, host: str) -> bool:
        """Whether a host, as it stands in a socket's address, may be contacted: all of the
        addresses it stands for.
        """
        host = _WORDS.get(host, host)
        known = self._verdicts.get(host)
        if known is not None and (known or host not in self._learned):
            return known
        if not _is_address(host):
            return self._permits_name(host)
        verdict = host in self._learned or self._allow.permits(host, host)
        if len(self._verdicts) < _MOST_KEPT:
            self._verdicts[host] = verdict
        return verdict

    def chosen(self, host: Any, answers: list[Any]) -> list[Any]:
        """Of what a name resolved to, what may be contacted; all of it when nothing may, so that
        the refusal comes where it is sent, and can be named.
        """
        name = _text(host)
        if not name or not answers:
            return answers
        for answer in answers:
            self.learn(name, str(answer[4][0]))
        return [one for one in answers if self.permits(str(one[4][0]))] or answers

    def learn(self, name: str, address: str) -> None:
        """A name stands for this address now. One that is listed by name may be contacted there."""
        if self._allow.lists(name):
            self._learned[address] = name
        elif name != address and len(self._names) < _MOST_KEPT:
            self._names[address] = name

    def flush(self) -> None:
        """Tell what has not been told yet."""
        for (who, where), total in self.refused().items():
            untold = total - (1 << (total.bit_length() - 1))
            if untold:
                self._say(Refusal(who, where, untold))

    def forget(self) -> None:
        """What was counted is another process's business: this one was forked off it."""
        self._counters, self._totals = {}, {}

    def _permits_name(self, name: str) -> bool:
        if self._allow.lists(name):
            return True
        try:
            found = {str(answer[4][0]) for answer in _ask_resolver(name, None)}
        except (OSError, UnicodeError):
            return False
        return bool(found) and all(_is_address(each) and self.permits(each) for each in found)

    def _refuse(self, where: str) -> None:
        who = _who()
        key = (who, where) if len(self._totals) < _MOST_KEPT else (who, "many other addresses")
        count = next(self._counters.setdefault(key, itertools.count(1)))
        self._totals[key] = max(count, self._totals.get(key, 0))
        if count & (count - 1) == 0:
            self._say(Refusal(*key, max(1, count // 2)))
        raise PacketRefusedError(
            f"{where} is not in the target's allow list: nothing was sent (asked for by {who}; "
            f"allow: {self._allow})"
        )

    def _say(self, refusal: Refusal) -> None:
        with contextlib.suppress(Exception):  # it is refused, whoever can be told of it
            self._tell(refusal)


_guard: SocketGuard | None = None


def install(guard: SocketGuard) -> None:
    """From here on everything in this process and its forks is held to the guard. A later one takes
    the place of an earlier.
    """
    global _guard  # noqa: PLW0603 - an audit hook cannot be taken away, only be given nothing to do
    _guard = guard
    for name in [name for name in os.environ if name.lower() in _PROXIES]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    _hook_once()


@contextlib.contextmanager
def holding(allow: AllowList) -> Iterator[None]:
    """While the context lasts, whatever this process sends is held to `allow`; one that is held
    already stays as it is. What is refused fails where it was asked, and is told nowhere else.
    """
    global _guard  # noqa: PLW0603
    before = _guard
    if before is None:
        _guard = SocketGuard(allow, lambda _: None)
        _hook_once()
    try:
        yield
    finally:
        _guard = before


def without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment whose proxies no client takes: they would carry everything past `allow`. And
    whose resolver is the system's: gevent's others open sockets of their own.
    """
    dropped = {*_PROXIES, "gevent_resolver"}
    kept = {name: value for name, value in environment.items() if name.lower() not in dropped}
    return {**kept, "NO_PROXY": "*", "no_proxy": "*"}


def acting(activity: str | None) -> None:
    """Whose doing everything in this thread is, where no file of theirs says so."""
    _activity.set(activity)


@functools.cache
def _hook_once() -> None:
    sys.addaudithook(_on_audit)
    _replace("getaddrinfo", _getaddrinfo)
    _replace("gethostbyname", _gethostbyname)
    _replace("gethostbyname_ex", _gethostbyname_ex)
    os.register_at_fork(after_in_child=lambda: _guard.forget() if _guard else None)
    atexit.register(lambda: _guard.flush() if _guard else None)


def _on_audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _guard is None:
        return
    if event in _SENDS:
        _guard.check(event, *arguments)
    elif event == "socket.bind" and int(arguments[0].family) not in _INTERNET | _LOCAL:
        # Bound to an interface, a raw socket sends without ever naming an address.
        _guard.check(event, *arguments)


# What a name stands for is learned where it is asked: an audit hook sees questions, no answers.

_ask_resolver = _socket.getaddrinfo
_ask_host = _socket.gethostbyname
_ask_host_ex = _socket.gethostbyname_ex


def _replace(name: str, ours: Callable[..., Any]) -> None:
    original = getattr(_socket, name)
    setattr(_socket, name, ours)
    if getattr(socket, name) is original:  # gevent's ask `_socket` by themselves
        setattr(socket, name, ours)


def _getaddrinfo(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> list[Any]:
    answers = _ask_resolver(host, port, family, type, proto, flags)
    if _guard is None or flags & socket.AI_PASSIVE:
        return answers
    return _guard.chosen(host, answers)


def _gethostbyname(host: Any) -> str:
    address = _ask_host(host)
    if _guard is not None:
        _guard.learn(_text(host) or "", address)
    return address


def _gethostbyname_ex(host: Any) -> tuple[str, list[str], list[str]]:
    answer = _ask_host_ex(host)
    if _guard is not None:
        for address in answer[2]:
            _guard.learn(_text(host) or "", address)
    return answer


def _text(host: Any) -> str | None:
    """A host as text, in whichever of the forms the socket module takes; None for anything else."""
    if isinstance(host, bytes | bytearray):
        return bytes(host).decode("ascii", "replace")
    return str(host) if isinstance(host, str) else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _who() -> str:
    """The innermost caller that is nobody's library, as file:line; else the activity; else the
    library itself.
    """
    frame: FrameType | None = sys._getframe(2)
    nearest = ""
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith("<frozen") and path != __file__:
            place = f"{_shown(path)}:{frame.f_lineno}"
            if not path.startswith(_LIBRARIES) and not any(room in path for room in _ROOMS):
                return place
            nearest = nearest or place
        frame = frame.f_back
    activity = _activity.get()
    return f"activity {activity!r}" if activity else nearest or "unknown"


def _shown(path: str) -> str:
    with contextlib.suppress(OSError, ValueError):
        here = os.getcwd() + os.sep
        if path.startswith(here):
            return path[len(here) :]
    return path
