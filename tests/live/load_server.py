"""A real HTTP server with bad manners, for the load engine's tests: `python load_server.py` prints
its port.

The path says how it answers; `/count` answers how many requests each path has had.
"""

import asyncio
import collections
import contextlib
import gzip
import json
import random
import ssl
import sys
import time
import urllib.parse

COUNTS = collections.Counter()
RANDOM = random.Random(5)
TLS = None
if sys.argv[1:2] == ["tls"]:
    TLS = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    TLS.load_cert_chain(*sys.argv[2:4])
# Seconds after the start: begin and end of a stall of everything.
STALLS = [] if TLS else [float(number) for number in sys.argv[1:3]]
RELEASED = asyncio.Event()
BEGUN = time.monotonic()


def message(body, *headers, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


ANSWERS = {
    "/ok": message(b'{"id": 1}'),
    "/head": b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
    "/labels": message(b"x", "X-Region: eu-west", "x-shard: eu", "X-Other: 1"),
    "/close": message(b"bye", "Connection: close"),
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: "
    b"chunked\r\n\r\n4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n",
    "/continue": b"HTTP/1.1 100 Continue\r\n\r\n" + message(b"done"),
    "/huge": message(b"x", *(f"X-{number}: {'v' * 600}" for number in range(100))),
    "/garbage": b"this is not HTTP at all\r\n\r\n",
    "/twice": message(b"one") + message(b"two"),
    "/surplus": message(b"one") + b"and more than was announced",
    "/503": message(b"down", status="503 Service Unavailable"),
    "/gzip": message(gzip.compress(b'{"zipped": true}'), "Content-Encoding: gzip"),
    "/gzipcut": message(gzip.compress(b"hello")[:-4], "Content-Encoding: gzip"),
    "/folded": message(b"folded", "X-Region: eu,", "  west", "\t1"),
    "/cookies": message(b"set", "Set-Cookie: sid=1; Path=/", "set-cookie: seen=yes; HttpOnly"),
    "/moved": message(b"", "Location: /ok", status="302 Found"),
    "/loop": message(b"", "Location: /loop", status="302 Found"),
    "/away": message(b"", "Location: http://192.0.2.1/", status="302 Found"),
}


async def answer(path, writer, head):  # noqa: PLR0912 - one case per bad manner
    """True keeps the connection."""
    where, _, query = path.partition("?")
    match where:
        case "/echo":
            writer.write(message(head))
        case "/to":  # /to?302=LOCATION
            status, _, location = query.partition("=")
            lines = (f"Location: {urllib.parse.unquote(location, 'latin-1')}",) * bool(location)
            answered = message(b"moved", "X-Hop: 1", status=f"{status} Moved").split(b"\r\n", 1)
            writer.write(
                b"\r\n".join(
                    [answered[0], *(line.encode("latin-1") for line in lines), answered[1]]
                )
            )
        case "/bytes" | "/foldedbytes":
            region = "X-Region: slow" if path == "/bytes" else "X-Region: slo\r\n w"
            for number in message(b"slowly", region):
                writer.write(bytes([number]))
                await writer.drain()
        case "/early":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            return False
        case "/silent":
            return False
        case "/reset":
            writer.transport.abort()
            return False
        case "/held":
            await RELEASED.wait()
            writer.write(ANSWERS["/ok"])
        case "/release":
            RELEASED.set()
            writer.write(ANSWERS["/close"])
        case "/slow":
            await asyncio.sleep(1.5)
            writer.write(ANSWERS["/ok"])
        case "/never":
            await asyncio.sleep(30)
        case "/stuck":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            await asyncio.sleep(30)
        case "/old":
            writer.write(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nuntil the end")
            return False
        case "/hasty":  # keeps the connection by its word, and closes it a moment later
            writer.write(ANSWERS["/ok"])
            await writer.drain()
            await asyncio.sleep(0.03)
            return False
        case "/drop30":
            if RANDOM.random() < 0.3:
                COUNTS["dropped"] += 1
                return False
            writer.write(ANSWERS["/ok"])
        case "/count":
            writer.write(message(json.dumps(COUNTS).encode()))
        case _:
            writer.write(ANSWERS.get(path) or message(b"no such path", status="404 Not Found"))
    return True


async def serve(reader, writer):
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            length = [
                line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
            ]
            if length:
                await reader.readexactly(int(length[0].split(b":")[1]))
            COUNTS[path] += 1
            if STALLS and STALLS[0] <= time.monotonic() - BEGUN < STALLS[1]:
                await asyncio.sleep(BEGUN + STALLS[1] - time.monotonic())
            if not await answer(path, writer, head):
                break
            await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096, limit=2**20, ssl=TLS)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
