"""A region's own door over HTTP: one GET for each key, several at a time, nothing repeated and
nothing followed.
"""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from stormgate.net.deadline import Deadline, connect
from stormgate.supervise.stores import FAIL, INFO, KeyRead, StoreReader, UnreadableError

# Doors may be an ocean away from the data: what one waits for, others use.
_AT_ONCE = 12
_MOST_BYTES = 1 << 20
_EACH_S = 3.0
# So many failures in a row are a door that is closed: the other keys are not tried.
_CLOSED = 8


class HttpReader(StoreReader):
    """See the module. 404 and 410 mean that there is nothing."""

    at_once = False

    def reads(self) -> bool:
        return True

    def read(self, keys: Sequence[str], deadline: Deadline) -> Iterator[KeyRead]:
        url = self.filled(self.store.url.replace("{key}", "\0"))
        headers = {name: self.filled(value) for name, value in self.store.headers.items()}
        waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        done: queue.SimpleQueue[KeyRead] = queue.SimpleQueue()
        for key in keys:
            waiting.put(key)
        door = _Door(self, url, headers, deadline)
        for _ in range(min(_AT_ONCE, len(keys))):
            threading.Thread(target=door.work, args=(waiting, done), daemon=True).start()
        for _ in keys:
            try:
                yield done.get(timeout=deadline.left() + _EACH_S)
            except queue.Empty:
                raise UnreadableError("did not answer in time", INFO) from None


class _Door:
    def __init__(
        self, reader: HttpReader, url: str, headers: dict[str, str], deadline: Deadline
    ) -> None:
        self._allow = reader.allow
        self._pointers = reader.store.values
        self._url = url
        self._headers = {"Accept": "application/json", **headers}
        self._deadline = deadline
        self._failed_in_a_row = 0

    def work(self, waiting: queue.SimpleQueue[str], done: queue.SimpleQueue[KeyRead]) -> None:
        """Ask for keys over one connection until there are no more."""
        connection: http.client.HTTPConnection | None = None
        while True:
            try:
                key = waiting.get_nowait()
            except queue.Empty:
                break
            began_ns = time.monotonic_ns()
            values: tuple[int, ...] = ()
            error, outcome = None, "ok"
            try:
                self._still_open()
                connection = connection or self._connection()
                values = self._ask(connection, key)
                self._failed_in_a_row = 0
            except UnreadableError as problem:
                error, outcome = str(problem), problem.outcome
            except (OSError, http.client.HTTPException, ValueError) as problem:
                # A TimeoutError is one too: it may have been answered, and a read changes nothing.
                error, outcome = f"{type(problem).__name__}: {problem}", INFO
            if error is not None:
                self._failed_in_a_row += 1
                if connection is not None:
                    connection.close()
                    connection = None
            done.put(KeyRead(key, values, began_ns, time.monotonic_ns(), began_ns, error, outcome))
        if connection is not None:
            connection.close()

    def _still_open(self) -> None:
        if self._failed_in_a_row >= _CLOSED:
            raise UnreadableError(f"not asked: {_CLOSED} in a row failed before it", INFO)
        try:
            self._deadline.left()
        except TimeoutError:
            raise UnreadableError("not asked: there was no time left", INFO) from None

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        left = Deadline(min(_EACH_S, self._deadline.left()))
        sock = connect(host, port, self._allow, left)
        sock.settimeout(_EACH_S)
        if secure:
            import ssl

            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        connection = http.client.HTTPConnection(host, port, timeout=_EACH_S)
        connection.sock = sock
        return connection

    def _ask(self, connection: http.client.HTTPConnection, key: str) -> tuple[int, ...]:
        parts = urlsplit(self._url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target.replace("\0", quote(key)), headers=self._headers)
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES + 1)
        if len(body) > _MOST_BYTES:
            raise UnreadableError(f"an answer over {_MOST_BYTES:,} bytes")
        if answer.status in (404, 410):
            return ()
        if answer.status != 200:
            raise UnreadableError(
                f"answered {answer.status}", FAIL if answer.status < 500 else INFO
            )
        return _numbers(json.loads(body), self._pointers)


def _numbers(data: Any, pointers: Sequence[str]) -> tuple[int, ...]:
    """What the first of the pointers that leads somewhere leads to. Raises UnreadableError."""
    for pointer in pointers:
        found = data
        for step in pointer[1:].split("/"):
            if isinstance(found, dict) and step in found:
                found = found[step]
            elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
                found = found[int(step)]
            else:
                break
        else:
            numbers = found if isinstance(found, list) else [found]
            if all(type(number) is int for number in numbers):
                return tuple(numbers)
            raise UnreadableError(f"{pointer} is no whole number and no list of them")
    raise UnreadableError(f"the answer has none of {', '.join(pointers)}")


READER = HttpReader
