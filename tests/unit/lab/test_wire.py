"""What goes over the wire between the lab's processes: HTTP both ways, and Valkey's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from stormgate.lab.design.health import Probe
from stormgate.lab.runtime import ports
from stormgate.lab.services import valkey as resp
from stormgate.lab.services.httpclient import HttpPeer
from stormgate.net import httpserver
from stormgate.net.httpserver import HttpRequest, HttpResponse


@pytest.mark.parametrize(
    ("data", "parsed"),
    [
        (b"+PONG\r\n", (b"PONG", 7)),
        (b":42\r\n+x", (42, 5)),
        (b"$-1\r\n", (None, 5)),
        (b"$3\r\na\r\n\r\nrest", (b"a\r\n", 9)),
        (b"$0\r\n\r\n", (b"", 6)),
        (b"$3\r\nab", None),
        (b"$3\r\nabc\r", None),
        (b"+PON", None),
        (b"", None),
    ],
)
def test_resp_parse(data: bytes, parsed: tuple[object, int] | None) -> None:
    assert resp.parse(data) == parsed


@pytest.mark.parametrize("data", [b"-ERR no\r\n", b"*1\r\n$1\r\na\r\n"])
def test_resp_errors_and_surprises_are_errors(data: bytes) -> None:
    found = resp.parse(data)
    assert found is not None
    assert isinstance(found[0], resp.ValkeyError)


def test_resp_encode_counts_bytes_not_letters() -> None:
    assert (
        resp.encode(("SET", "ü", b"\r\n", 7))
        == b"*4\r\n$3\r\nSET\r\n$2\r\n\xc3\xbc\r\n$2\r\n\r\n\r\n$1\r\n7\r\n"
    )


async def _echo(request: HttpRequest) -> HttpResponse:
    if request.path == "/boom":
        raise RuntimeError("boom")
    await asyncio.sleep(0.01 if request.path == "/slow" else 0)
    text = (
        f"{request.method} {request.path} {sorted(request.query.items())} "
        f"{request.headers.get('x-a')} {request.body.decode()}"
    )
    return HttpResponse(200, text.encode(), {"x-b": "1"})


def served(client: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        import random

        port = ports.choose(1, random.Random())[0]
        async with httpserver.serving(_echo, "127.0.0.1", port):
            await client(port)

    asyncio.run(asyncio.wait_for(run(), 10.0))


async def raw(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer


def test_client_and_server_understand_each_other() -> None:
    async def client(port: int) -> None:
        peer = HttpPeer("127.0.0.1", port)
        for _ in range(2):
            reply = await peer.request(
                "POST", "/a?q=1", headers={"X-A": "v"}, body=b"hello", timeout_s=2.0
            )
            assert (reply.status, reply.headers["x-b"]) == (200, "1")
            assert reply.body == b"POST /a [('q', '1')] v hello"
        assert (await peer.request("GET", "/boom", timeout_s=2.0)).status == 500
        assert (await peer.probe("/", timeout_s=2.0))[0] is Probe.OK
        peer.close()

    served(client)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def client(port: int) -> None:
        answer = await raw(
            port,
            b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\nGET /fast HTTP/1.1\r\nhost: "
            b"x\r\nconnection: close\r\n\r\n",
        )
        assert [answer.index(b"/slow") < answer.index(b"/fast"), answer.count(b"HTTP/1.1 200")] == [
            True,
            2,
        ]

    served(client)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET \xff HTTP/1.1\r\nhost: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\ncontent-length: 2000000\r\n\r\n" + b"x" * 2_000_000, b"413"),
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
    ],
)
def test_the_server_ends_what_it_must(data: bytes, status: bytes) -> None:
    async def client(port: int) -> None:
        assert (await raw(port, data)).split(b" ")[1] == status

    served(client)


def test_the_client_never_tries_twice() -> None:
    seen = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the first request of a connection, hangs up on the second."""
        for answer in (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(once, "127.0.0.1", 0)
        async with server:
            peer = HttpPeer("127.0.0.1", server.sockets[0].getsockname()[1])
            assert (await peer.request("GET", "/", timeout_s=2.0)).status == 200
            with pytest.raises(ConnectionError):
                await peer.request("GET", "/", timeout_s=2.0)
            assert len(seen) == 2

    asyncio.run(run())


def test_probes_tell_silence_from_refusal() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            assert await HttpPeer("127.0.0.1", port).probe("/", timeout_s=0.05) == (
                Probe.SILENT,
                b"",
            )
        assert await HttpPeer("127.0.0.1", port).probe("/", timeout_s=2.0) == (Probe.REFUSED, b"")

    asyncio.run(run())
