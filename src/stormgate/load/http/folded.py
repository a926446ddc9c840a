"""Header lines that go on in the next one (RFC 9112, 5.2): obsolete, and still sent by some."""

from __future__ import annotations

import re

_FOLD = re.compile(rb"[ \t]*\r?\n[ \t]+")
_HEAD_ENDS = re.compile(rb"\r?\n\r?\n")
_INFORMATIONAL = re.compile(rb"HTTP/\d\.\d 1\d\d\b")


def has_fold(raw: bytes) -> bool:
    """Whether a line of a head that may not be whole begins with a space."""
    end = _head_end(raw)
    return _FOLD.search(raw, 0, end if end >= 0 else len(raw)) is not None


def is_whole(raw: bytes | bytearray) -> bool:
    """Whether the head of a response is there to its end, and those of informational ones before
    it.
    """
    return _head_end(raw) >= 0


def unfolded(raw: bytes) -> bytes:
    """A response whose folded header lines are each one line: the fold is replaced by a space.
    Unchanged when there is none, or its head is not whole.
    """
    end = _head_end(raw)
    if end < 0:
        return raw
    return _FOLD.sub(b" ", raw[:end]) + raw[end:]


def _head_end(raw: bytes | bytearray) -> int:
    begin = 0
    while (found := _HEAD_ENDS.search(raw, begin)) is not None:
        if not _INFORMATIONAL.match(raw, begin):
            return found.start()
        begin = found.end()
    return -1
