"""Redis and Valkey, over their protocol (RESP2): numbers by key, whatever type holds them; every
key and value looked through. One server; of a cluster each node is a store.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from stormgate.net.deadline import Deadline, Incoming, connect
from stormgate.supervise.stores import KeyRead, Looked, StoreReader, UnreadableError, batch

_BATCH = 500
_MOST_BYTES = 1 << 30
_WHOLE: dict[bytes, tuple[str, ...]] = {
    b"string": ("GET", "{key}"),
    b"list": ("LRANGE", "{key}", "0", "-1"),
    b"set": ("SMEMBERS", "{key}"),
    b"zset": ("ZRANGE", "{key}", "0", "-1"),
    b"hash": ("HGETALL", "{key}"),
    b"stream": ("XRANGE", "{key}", "-", "+"),
}


class _Server:
    """One connection; commands go in batches and are answered in their order."""

    def __init__(self, sock: Any, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._file = io.BufferedReader(Incoming(sock, deadline, _MOST_BYTES), 1 << 16)

    def ask(self, commands: Sequence[Sequence[bytes]]) -> list[Any]:
        """The answer to each command; one that is an error is an UnreadableError among them."""
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(b"".join(_encoded(command) for command in commands))
        return [self._reply() for _ in commands]

    def one(self, *command: bytes) -> Any:
        """The answer to one command. Raises UnreadableError."""
        answer = self.ask([command])[0]
        if isinstance(answer, UnreadableError):
            raise answer
        return answer

    def _reply(self) -> Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise UnreadableError("the connection ended in the middle of an answer")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return UnreadableError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            data = self._file.read(size + 2)
            if len(data) != size + 2:
                raise UnreadableError("the connection ended in the middle of an answer")
            return data[:-2]
        if kind == b"*":
            return [self._reply() for _ in range(max(0, int(rest)))]
        raise UnreadableError(f"not the Redis protocol: {line[:20]!r}")


class RedisReader(StoreReader):
    """See the module. A string is a whole number or a JSON list of them; of lists and sets the
    members count.
    """

    def reads(self) -> bool:
        return bool(self.store.key)

    def looks(self) -> bool:
        return True

    def read(self, keys: Sequence[str], deadline: Deadline) -> Iterator[KeyRead]:
        with self._connected(deadline) as sock:
            server = self._server(sock, deadline)
            for begin in range(0, len(keys), _BATCH):
                some = keys[begin : begin + _BATCH]
                began_ns = time.monotonic_ns()
                names = [self.store.key.replace("{key}", key).encode() for key in some]
                held = self._held(server, names)
                found = {key: _numbers(key, value) for key, value in zip(some, held, strict=True)}
                yield from batch(found, some, began_ns)

    def look(self, canaries: Sequence[str], deadline: Deadline) -> Looked:
        control = self.store.control
        sought = {text: text.encode() for text in (*canaries, *([control] if control else ()))}
        where: dict[str, str] = {}
        searched = 0
        with self._connected(deadline) as sock:
            server = self._server(sock, deadline)
            size = server.one(b"DBSIZE")
            cursor = b"0"
            while True:
                cursor, names = server.one(b"SCAN", cursor, b"COUNT", b"1000")
                for name, value in zip(names, self._held(server, names), strict=True):
                    searched += 1
                    for text, word in sought.items():
                        if text not in where and (word in name or _contains(value, word)):
                            where[text] = f"key {name.decode(errors='replace')[:120]}"
                if cursor == b"0":
                    break
            size = min(size, server.one(b"DBSIZE"))
        found = {canary: where[canary] for canary in canaries if canary in where}
        # Without a word that is surely there: an empty server is looked through, too, if it says so
        # itself. (What it counts otherwise is no measure: keys that have run out are among it.)
        empty = True if searched == size == 0 else None
        return Looked(searched, found, control in where if control else empty)

    def _held(self, server: _Server, names: Sequence[bytes]) -> list[Any]:
        """What is under each name, whole; None where nothing is. What expires or changes its type
        in between is asked for no more: it was not there at one moment of the look.
        """
        kinds = server.ask([(b"TYPE", name) for name in names])
        for kind in kinds:
            if isinstance(kind, UnreadableError):
                raise kind
            if kind != b"none" and kind not in _WHOLE:
                raise UnreadableError(f"a key of type {kind.decode()} cannot be looked into")
        asked = [(n, kind) for n, kind in zip(names, kinds, strict=True) if kind != b"none"]
        answers = iter(
            server.ask(
                [
                    [name if word == "{key}" else word.encode() for word in _WHOLE[kind]]
                    for name, kind in asked
                ]
            )
        )
        held = [None if kind == b"none" else next(answers) for kind in kinds]
        return [None if isinstance(value, UnreadableError) else value for value in held]

    def _connected(self, deadline: Deadline) -> Any:
        host, _, port = self.endpoint(deadline)
        return connect(host, port, self.allow, deadline)

    def _server(self, sock: Any, deadline: Deadline) -> _Server:
        server = _Server(sock, deadline)
        user, password = self.filled(self.store.user), self.filled(self.store.password)
        if password:
            server.one(b"AUTH", *([user.encode()] if user else []), password.encode())
        return server


def _encoded(command: Sequence[bytes]) -> bytes:
    parts = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)
    return b"*%d\r\n" % len(command) + parts


def _numbers(key: str, value: Any) -> list[int]:
    """The whole numbers in what is under a key. Raises UnreadableError for anything else."""
    if value is None:
        return []
    found: Any
    try:
        found = json.loads(value) if isinstance(value, bytes) else [int(one) for one in value]
    except (ValueError, TypeError):
        found = None
    numbers: list[Any] = found if isinstance(found, list) else [found]
    if not all(type(number) is int for number in numbers):
        raise UnreadableError(f"what is under {key[:100]!r} is no whole number and no list of them")
    return numbers


def _contains(value: Any, word: bytes) -> bool:
    if isinstance(value, list):
        return any(_contains(one, word) for one in value)
    return isinstance(value, bytes) and word in value


READER = RedisReader
