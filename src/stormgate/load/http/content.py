"""Undoing a content encoding: whole, or with the reason why not. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable

# A body that decodes to more is no answer a user waits for, and would take this process's memory.
MOST_BYTES = 32 * 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP, _ZLIB, _RAW = 31, 15, -15  # what zlib calls wbits


class ContentError(ValueError):
    """A body is not what its Content-Encoding says, or decodes to more than allowed."""


def decoded(body: bytes, encodings: str, most_bytes: int = MOST_BYTES) -> bytes:
    """A body without its encodings (the value of Content-Encoding, in the order they were applied):
    gzip of one or several members, deflate, br. Raises ContentError.
    """
    for encoding in reversed([part.strip().lower() for part in encodings.split(",")]):
        if encoding in ("", "identity") or not body:
            continue
        undo = _UNDO.get(encoding)
        if undo is None:
            raise ContentError(f"its content encoding {encoding[:40]!r} was not asked for")
        body = undo(body, most_bytes)
        if len(body) > most_bytes:
            raise ContentError(f"its {encoding} decodes to more than {most_bytes} bytes")
    return body


def _gzip(body: bytes, most_bytes: int) -> bytes:
    """All members (RFC 1952, 2.2); zeros after the last are padding."""
    whole, rest = b"", body
    while rest:
        if not rest.startswith(_GZIP_MAGIC):
            if not whole and rest is body:
                raise ContentError("its body is no gzip")
            if rest.strip(b"\0"):
                raise ContentError(f"{len(rest)} bytes after its last gzip member are no gzip")
            break
        member, rest = _inflated(rest, _GZIP, most_bytes - len(whole), "gzip")
        whole += member
        if len(whole) > most_bytes:
            break
    return whole


def _deflate(body: bytes, most_bytes: int) -> bytes:
    """As zlib, which the standard means, or bare, which some servers send."""
    is_zlib = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return _inflated(body, _ZLIB if is_zlib else _RAW, most_bytes, "deflate")[0]


def _inflated(data: bytes, wbits: int, most_bytes: int, name: str) -> tuple[bytes, bytes]:
    """One stream, decoded to a byte more than `most_bytes` at most, and what follows it."""
    stream = zlib.decompressobj(wbits=wbits)
    try:
        plain = stream.decompress(data, most_bytes + 1)
    except zlib.error as error:
        raise ContentError(f"its {name} is broken: {error}") from None
    if len(plain) <= most_bytes and not stream.eof:
        raise ContentError(f"its {name} is cut short after {len(plain)} decoded bytes")
    return plain, stream.unused_data


def _brotli(body: bytes, most_bytes: int) -> bytes:
    import brotli

    stream = brotli.Decompressor()
    try:
        plain: bytes = stream.process(body, output_buffer_limit=most_bytes + 1)
        while len(plain) <= most_bytes and not stream.is_finished():
            more = stream.process(b"", output_buffer_limit=most_bytes + 1 - len(plain))
            if not more:
                raise ContentError(f"its br is cut short after {len(plain)} decoded bytes")
            plain += more
    except brotli.error:
        raise ContentError("its body is no br, or broken") from None
    return plain


_UNDO: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
}
