"""What the Toxiproxy tests share: a raw HTTP call, upstreams, and the two servers."""

from __future__ import annotations

import http.client
import itertools
import json
import select
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from stormgate.system import processes
from stormgate.toxiproxy import build, server
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.server import RunningServer, ServerChoice

_NUMBERS = itertools.count(1)


def choice_for(kind: str) -> ServerChoice:
    """The embedded server, or the real one of the pinned version (built once per machine); skips
    where it cannot be had.
    """
    if kind == "embedded":
        return server.embedded_choice()
    target = build.cache_path()
    if not target.exists():
        try:
            build.build(target, print)
        except (build.BuildError, OSError) as error:
            pytest.skip(
                f"NOT TESTED against the real toxiproxy-server {build.VERSION}: it cannot be "
                f"had here: {error}"
            )
    return ServerChoice("binary", build.VERSION, "the tests' own", target)


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Toxi:
    """A running server: `client` is ours, `raw` speaks HTTP with nothing of ours between."""

    def __init__(self, kind: str, running: RunningServer) -> None:
        self.kind = kind
        self.running = running
        self.client = Client(running.url)

    @property
    def real(self) -> bool:
        return self.kind == "real"

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        agent: str = "test",
        timeout_s: float = 10,
    ) -> Reply:
        """`body` as it is when bytes, else as JSON."""
        connection = http.client.HTTPConnection(
            urlsplit(self.running.url).netloc, timeout=timeout_s
        )
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, payload, {"User-Agent": agent})
            answer = connection.getresponse()
            headers = {key.lower(): value for key, value in answer.getheaders()}
            return Reply(answer.status, headers, answer.read().decode())
        finally:
            connection.close()

    def proxy(self, upstream: str, **toxic: Any) -> str:
        """A new proxy with a name of its own, with one toxic when any is given."""
        name = f"p{next(_NUMBERS)}"
        self.client.create(name, upstream)
        if toxic:
            self.toxic(name, **toxic)
        return name

    def toxic(
        self,
        proxy: str,
        type: str,
        *,
        stream: str = "downstream",
        toxicity: float = 1,
        **attributes: int,
    ) -> str:
        """Add a toxic without our client's checks; its name."""
        body = {"type": type, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        reply = self.raw("POST", f"/proxies/{proxy}/toxics", body)
        assert reply.status == 200, reply.text
        return reply.json["name"]

    def patch(self, proxy: str, toxic: str, **change: Any) -> None:
        assert self.raw("PATCH", f"/proxies/{proxy}/toxics/{toxic}", change).status == 200

    def drop(self, proxy: str, toxic: str) -> None:
        assert self.raw("DELETE", f"/proxies/{proxy}/toxics/{toxic}").status == 204

    def connect(self, proxy: str) -> socket.socket:
        sock = socket.create_connection(self.client.get(proxy).address, timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


@contextmanager
def running(kind: str, log_path: Path, *extra: str):
    """A server of this kind, ended afterwards. `extra` is added to its command line."""
    choice = choice_for(kind)
    if not extra:
        started = server.launch(choice, log_path=log_path)
    else:
        argv = [*server._argv(choice, "127.0.0.1", 0), *extra]
        process = processes.spawn(argv, log_path=log_path, new_session=True)
        started = RunningServer(
            server._wait_listening(process, "127.0.0.1", 0, log_path), choice, process
        )
    try:
        yield Toxi(kind, started)
    finally:
        started.stop(0.5)


class Upstream:
    """A TCP server on loopback; `handle` runs per connection in a thread (echo by default)."""

    def __init__(self, handle=None) -> None:
        self._handle = handle or _echo
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted.append(sock)
            threading.Thread(target=self._guard, args=(sock,), daemon=True).start()

    def _guard(self, sock: socket.socket) -> None:
        try:
            self._handle(sock)
        except OSError:
            pass
        finally:
            sock.close()

    def close(self) -> None:
        # Shut down first: closing alone does not wake a thread that waits in accept.
        for sock in (self._listener, *self.accepted):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def _echo(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


@contextmanager
def black_hole():
    """An address whose connects neither succeed nor fail: a listening socket whose backlog is
    full.
    """
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    try:
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        _, writable, _ = select.select([], fillers, [], 0.2)
        assert len(writable) < len(fillers), "the backlog never filled"
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for sock in (*fillers, listener):
            sock.close()


def read_all(sock: socket.socket) -> bytes:
    """Up to the end of the stream; a reset raises."""
    out = b""
    while data := sock.recv(65536):
        out += data
    return out


def read_exactly(sock: socket.socket, size: int) -> bytes:
    out = b""
    while len(out) < size:
        data = sock.recv(min(65536, size - len(out)))
        assert data, f"ended after {len(out)} of {size} bytes"
        out += data
    return out


def ping(sock: socket.socket, data: bytes = b"ping") -> float:
    """Round trip in ms."""
    begin = time.monotonic()
    sock.sendall(data)
    assert read_exactly(sock, len(data)) == data
    return (time.monotonic() - begin) * 1000


def stalls(sock: socket.socket, seconds: float = 0.3) -> bool:
    """Whether nothing arrives, not even an end, for so long."""
    return not select.select([sock], [], [], seconds)[0]


def wait_until(condition, deadline_s: float = 10.0) -> bool:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def error_of(reply: Reply) -> str:
    """The message of an error answer, once its shape is checked: http.Error overwrites the type
    Toxiproxy means.
    """
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.json["status"] == reply.status
    assert set(reply.json) == {"error", "status"}
    return reply.json["error"]


def ends(sock: socket.socket) -> bool:
    """Whether the stream is over: an orderly end (True) or a reset (False); anything else fails."""
    try:
        assert sock.recv(1) == b""
    except ConnectionResetError:
        return False
    return True
