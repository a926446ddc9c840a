"""Lines of a request's head that must not go everywhere."""

from __future__ import annotations

from collections.abc import Collection

# What a browser keeps to the origin it was meant for (WHATWG Fetch, HTTP-redirect fetch, 13).
CREDENTIALS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
# What describes a body, and goes with it when a redirect makes a request a GET.
OF_THE_BODY = frozenset(
    {
        b"content-encoding",
        b"content-language",
        b"content-location",
        b"content-type",
        b"content-length",
    }
)


def without(block: bytes, names: Collection[bytes]) -> bytes:
    """A block of header lines less those called so (lower case)."""
    return b"".join(
        line
        for line in block.splitlines(keepends=True)
        if line.partition(b":")[0].lower() not in names
    )
