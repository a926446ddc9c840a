"""Asking a server that means harm: one line, within the deadline, and nothing sent elsewhere."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from stormgate.model import Target
from stormgate.net.allow import AllowList, NotAllowedError
from stormgate.net.fetch import fetch
from stormgate.net.status import read_status

ONLY_HERE = AllowList(["127.0.0.1/32"])


@contextlib.contextmanager
def server(
    answer: Callable[[socket.socket], None], host: str = "127.0.0.1"
) -> Iterator[tuple[str, list[bytes]]]:
    """A listener that hands each connection, its request read, to `answer`; what it was asked."""
    asked: list[bytes] = []
    listener = socket.create_server((host, 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    asked.append(connection.recv(65_536))
                    answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{listener.getsockname()[1]}/status", asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def says(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


def drip(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65_536)


def silence(connection: socket.socket) -> None:
    connection.recv(1)


def test_a_body() -> None:
    with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")) as (url, asked):
        assert fetch(url, ONLY_HERE, 5) == b"hi"
    assert asked[0].startswith(b"GET /status HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (drip, "no whole answer within 0.5 s"),
        (silence, "no whole answer within 0.5 s"),
        (endless, "over 1,048,576 bytes"),
        (says(b"\x00\xff garbage\r\n\r\n"), "no HTTP answer"),
        (says(b""), ""),
        (says(b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n"), "answered 503, not 200"),
    ],
)
def test_what_is_no_answer_says_so_in_one_line_and_in_time(
    answer: Callable[[socket.socket], None], why: str
) -> None:
    with server(answer) as (url, _):
        with pytest.raises((OSError, ValueError)) as raised:
            fetch(url, ONLY_HERE, 0.5)
        target = Target(name="t", allow=("127.0.0.1/32",), status_url=url)
        status = read_status(target, 0.5)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not status.whole
    assert url in status.why


def test_a_redirect_is_not_followed() -> None:
    with server(says(b""), "127.0.0.2") as (elsewhere, asked):
        moved = f"HTTP/1.1 302 x\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n".encode()
        with server(says(moved)) as (url, _), pytest.raises(ValueError, match="answered 302 to"):
            fetch(url, ONLY_HERE, 5)
        assert asked == []


@pytest.mark.parametrize("proxied", [False, True])
def test_nothing_is_sent_outside_the_allow_list(
    proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(says(b""), "127.0.0.2") as (elsewhere, asked):
        monkeypatch.setenv("ELSEWHERE", elsewhere)
        if proxied:
            monkeypatch.setenv("HTTP_PROXY", elsewhere)
            monkeypatch.setenv("http_proxy", elsewhere)
            with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")) as (url, _):
                assert fetch(url, ONLY_HERE, 5) == b"hi"
        else:
            with pytest.raises(NotAllowedError, match="nothing was sent"):
                fetch(elsewhere, ONLY_HERE, 5)
            target = Target(name="t", allow=("127.0.0.1/32",), status_url="${ELSEWHERE}")
            assert "nothing was sent" in read_status(target).why
        assert asked == []
