"""Looking at a component that means harm: what it is, in one line, within the time given."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from stormgate.model import Observe
from stormgate.net.allow import AllowList
from stormgate.net.look import Sight, State, look
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.errors import (
    InvalidRequest,
    ServerUnreachable,
    ServerWedged,
    ToxiproxyError,
    UnexpectedAnswer,
)

Answer = Callable[[socket.socket], None]
LIMIT_S = 0.5
# What a test allows beyond the promise, for a machine with more to do than cores.
SLACK_S = 5.0


@contextlib.contextmanager
def server(answer: Answer, host: str = "127.0.0.1") -> Iterator[tuple[str, list[bytes]]]:
    """Hands each connection, something read, to `answer`; its host:port, and what it was asked."""
    asked: list[bytes] = []
    listener = socket.create_server((host, 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    asked.append(connection.recv(100_000))
                    answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"{host}:{listener.getsockname()[1]}", asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def says(data: bytes) -> Answer:
    return lambda connection: connection.sendall(data)


def drips(data: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        end = time.monotonic() + 10
        for byte in data:
            connection.sendall(bytes([byte]))
            if time.monotonic() > end:
                return
            time.sleep(0.05)

    return answer


def floods(data: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(data)
        while True:
            connection.sendall(b"x" * 65_536)

    return answer


def seen(protocol: str, answer: Answer, padding: int = 0) -> Sight:
    with server(answer) as (address, _):
        begun = time.monotonic()
        sight = look(Observe(protocol=protocol, address=address), LIMIT_S, padding=padding)
        assert time.monotonic() - begun < LIMIT_S + SLACK_S
    assert "\n" not in str(sight)
    return sight


@pytest.mark.parametrize("protocol", ["http", "redis", "postgres"])
@pytest.mark.parametrize(
    ("answer", "states"),
    [
        (drips(b" " * 400), {State.SILENT, State.RESET}),
        (floods(b""), {State.RESET}),
        (says(b"\x00\xff\r\n"), {State.RESET}),
        (says(b""), {State.RESET}),
        (lambda connection: connection.recv(1), {State.SILENT}),
    ],
    ids=["drips", "floods", "garbage", "hangs up", "silent"],
)
def test_what_is_no_answer_is_none(protocol: str, answer: Answer, states: set[State]) -> None:
    assert seen(protocol, answer).state in states


@pytest.mark.parametrize(
    "line", [b"$99999999999", b"$-1", b"$x", b"$1_0", b"$", b"$ 10", b"$9", b"*1"]
)
def test_a_redis_that_lies_about_a_length_is_no_redis(line: bytes) -> None:
    assert seen("redis", floods(line + b"\r\n"), padding=10).state is State.RESET


def test_a_redis_that_gives_back_what_it_was_sent_answers() -> None:
    sight = seen("redis", says(b"$10\r\n" + b"x" * 10 + b"\r\n"), padding=10)
    assert sight.state is State.ANSWERS
    assert seen("redis", drips(b"$10\r\nxx"), padding=10).state in {State.RESET, State.SILENT}


def test_nobody_outside_the_list_is_looked_at() -> None:
    with server(says(b"+PONG\r\n"), "127.0.0.2") as (address, asked):
        allow = AllowList(["127.0.0.1/32"])
        sight = look(Observe(protocol="redis", address=address), LIMIT_S, allow=allow)
        assert sight.state is State.UNREACHABLE
        assert "nothing was sent" in sight.detail
        assert asked == []


BIG = b'HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{"a": "'


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (drips(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 40), ServerWedged),
        (drips(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n" + b"x" * 400), ServerWedged),
        (lambda connection: connection.recv(1), ServerWedged),
        (floods(BIG), UnexpectedAnswer),
        (floods(b"HTTP/1.1 200 OK\r\nA: "), UnexpectedAnswer),
        (floods(b"HTTP/1.1 100 Continue\r\n\r\n"), UnexpectedAnswer),
        (says(b"\x00\xff garbage\r\n\r\n"), UnexpectedAnswer),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), ServerUnreachable),
        (says(b""), ServerUnreachable),
    ],
)
def test_a_toxiproxy_that_means_harm(answer: Answer, error: type[ToxiproxyError]) -> None:
    with server(answer) as (address, _):
        begun = time.monotonic()
        with pytest.raises(error) as raised:
            Client(f"http://{address}", LIMIT_S).version()
        assert time.monotonic() - begun < LIMIT_S + SLACK_S
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_toxiproxy_outside_the_list_is_not_asked() -> None:
    with server(says(b""), "127.0.0.2") as (address, asked):
        client = Client(f"http://{address}", LIMIT_S, AllowList(["127.0.0.1/32"]))
        with pytest.raises(InvalidRequest, match="nothing was sent"):
            client.version()
        assert asked == []
