"""The core's framing against httptools: responses made by grammar, then spoilt, in any pieces.

    python -m tests.unit.load.engine.core.framing_fuzz --minutes 60 [--seed 1]

What the core calls whole, the transport in Python calls whole at the same byte, with the same
status and the same word on whether the connection lives; what it calls malformed is malformed
there; while it waits, that waits. Only of what it calls odd nothing is asked: it gives that away.
"""

import argparse
import random
import sys
import time
from types import SimpleNamespace

from stormgate.load.engine.core import native
from stormgate.load.http.connection import (
    BrokenAnswerError,
    Connection,
    expect_head,
    received,
)
from stormgate.model import Outcome

NAMES = ["Date", "Server", "X-Served-By", "ETag", "Vary", "Set-Cookie", "A" * 70, "Keep-Alive"]
VALUES = ["x", "", " spaced ", "nginx/1.18 (Ubuntu)", "é", "a,b", "\t", "z" * 300, "timeout=5"]
FRAMING = [
    "Content-Length: {n}", "content-length:{n}", "CONTENT-LENGTH: \t{n}  ", "Content-Length: 0{n}",
    "Content-Length: +{n}", "Content-Length: {n}, {n}", "Content-Length: 99999999999999999999",
    "Content-Length: -1", "Content-Length:", "Content-Length: {n}x",
    "Transfer-Encoding: chunked", "transfer-encoding:CHUNKED ", "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, gzip", "Transfer-Encoding:",
    "Connection: close", "connection: Keep-Alive", "Connection: keep-alive, close",
    "Connection: upgrade", "Connection:", "Proxy-Connection: close", "Upgrade: h2c",
]  # fmt: skip
STATUS = [200, 200, 200, 200, 201, 204, 206, 301, 304, 404, 500, 503, 100, 103, 101, 99, 600, 999]
LINES = [
    "HTTP/1.1 {s} OK", "HTTP/1.1 {s} OK", "HTTP/1.1 {s} ", "HTTP/1.1 {s}", "HTTP/1.0 {s} OK",
    "HTTP/1.1 {s} Not  Found\t!", "HTTP/2.0 {s} OK", "HTTP/1.2 {s} OK", "HTTP/0.9 {s} OK",
    "HTTP/1.1  {s} OK", "http/1.1 {s} OK", "ICY {s} OK", "HTTP/1.1 {s}OK", "\r\nHTTP/1.1 {s} OK",
]  # fmt: skip


def head(draw, size, *, plain):
    """A head for a body of `size` bytes; `plain`: as nearly all servers write it."""
    status = 200 if plain else draw.choice(STATUS)
    lines = [(LINES[0] if plain or draw.random() < 0.6 else draw.choice(LINES)).format(s=status)]
    for _ in range(draw.randrange(4)):
        lines.append(f"{draw.choice(NAMES)}: {draw.choice(VALUES)}")
    if plain:
        lines.insert(draw.randrange(1, len(lines) + 1), draw.choice(FRAMING[:3]).format(n=size))
    else:
        for _ in range(draw.randrange(3)):
            lines.insert(draw.randrange(1, len(lines) + 1), draw.choice(FRAMING).format(n=size))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def chunked(draw, body):
    out, at = b"", 0
    while at < len(body):
        size = draw.randrange(1, len(body) - at + 1)
        extension = b";a=b" if draw.random() < 0.05 else b""
        number = draw.choice([b"%x", b"%X", b"0%x"]) % size
        out += number + extension + b"\r\n" + body[at : at + size] + b"\r\n"
        at += size
    end = draw.choice([b"0", b"0", b"0", b"000", b"0;last"])
    return out + end + b"\r\n" + (b"Trailer: x\r\n" if draw.random() < 0.1 else b"") + b"\r\n"


def response(draw):
    """The bytes of one response, or what was to be one."""
    body = bytes(draw.choice(b"abc\r\n0 HTTP") for _ in range(draw.choice([0, 1, 2, 9, 40])))
    kind = draw.random()
    if kind < 0.3:
        made = head(draw, len(body), plain=True) + body
    elif kind < 0.5:
        top = head(draw, 0, plain=True).split(b"\r\n")
        top = [line for line in top if not line.lower().startswith(b"content-length")]
        top.insert(draw.randrange(1, max(2, len(top) - 1)), b"Transfer-Encoding: chunked")
        made = b"\r\n".join(top) + chunked(draw, body)
    else:
        tail = chunked(draw, body) if draw.random() < 0.3 else body
        made = head(draw, len(body), plain=False) + tail
    if draw.random() < 0.1:
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        made = early * draw.randrange(1, 3) + made
    if draw.random() < 0.1:
        made += draw.choice([b"x", b"\r\n", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n\r\n", made, b"\0"])
    return spoilt(draw, made) if draw.random() < 0.3 else made


def spoilt(draw, made):
    made = bytearray(made)
    for _ in range(draw.randrange(1, 3)):
        at = draw.randrange(len(made) + 1)
        what = draw.randrange(4)
        if what == 0:
            del made[at : at + draw.randrange(1, 4)]
        elif what == 1:
            made[at:at] = draw.choice([b"\r", b"\n", b"\0", b" ", b":", b"\x7f", b"\xff", b"\r\n "])
        elif what == 2 and at < len(made):
            made[at] = draw.randrange(256)
        else:
            made = made[:at]
    return bytes(made)


def pieces(draw, data):
    """Most answers come in one read."""
    if draw.random() < 0.5 or len(data) < 2:
        return [data] if data else []
    cuts = sorted({draw.randrange(1, len(data)) for _ in range(draw.choice([1, 1, 2, 5, 400]))})
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def by_httptools(parts, is_head, ended):
    """What the transport in Python makes of them: (framed, status, keep, pieces)."""
    request = SimpleNamespace(is_head=is_head)
    connection = Connection.__new__(Connection)
    connection.chunks, connection.complete, connection.ended = None, 0, False
    connection.status, connection.keep = 0, True
    connection.reset_parser()
    if is_head:
        expect_head(connection)
    raw, count = None, 0
    try:
        for part in [*parts, *([b""] if ended else [])]:
            count += 1
            raw = received(connection, part, request)
            if raw is not None:
                break
    except BrokenAnswerError as broken:
        if broken.outcome is Outcome.MALFORMED:
            return native.FRAMED_MALFORMED, 0, 0, count
        return native.FRAMED_MORE, 0, 0, len(parts)
    finally:
        connection.parser = connection.feed = None
    if raw is None:
        return native.FRAMED_MORE, 0, 0, len(parts)
    assert raw == b"".join(parts[:count])
    return native.FRAMED_WHOLE, connection.status, int(connection.keep), min(count, len(parts))


def difference(parts, is_head, ended):
    """What the two make of it differently, None for nothing; and what the core said."""
    framed, status, keep, count = native.frame(parts, is_head, ended)
    if framed == native.FRAMED_ODD:
        return None, framed
    if framed != native.FRAMED_WHOLE:
        status = keep = 0
    theirs = by_httptools(parts, is_head, ended)
    ours = framed, status, keep, count
    return (None if ours == theirs else (ours, theirs)), framed


def run(seed, *, seconds, most=sys.maxsize):
    """Counts by what the core said. Raises AssertionError with what reproduces a difference."""
    draw = random.Random(seed)
    counts = [0, 0, 0, 0]
    end = time.monotonic() + seconds
    while sum(counts) < most and (sum(counts) % 256 or time.monotonic() < end):
        parts = pieces(draw, response(draw))
        is_head, ended = draw.random() < 0.1, draw.random() < 0.3
        found, framed = difference(parts, is_head, ended)
        assert found is None, (parts, is_head, ended, found)
        counts[framed] += 1
    return counts


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--seed", type=int, default=None)
    given = options.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    print("more, whole, malformed, odd:", run(seed, seconds=given.minutes * 60))


if __name__ == "__main__":
    main()
