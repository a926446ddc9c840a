"""Ports that nobody listens on, outside the range the kernel gives to outgoing connections."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_LOWEST = 10_000


def choose(count: int, rng: random.Random) -> list[int]:
    """`count` free TCP ports of 127.0.0.1, all different.

    A dead server's port must still be free when it is started again; one from the ephemeral range
    may meanwhile have become the local end of somebody's connection. Raises OSError when there are
    not enough.
    """
    candidates = list(range(_LOWEST, _ephemeral_from()))
    rng.shuffle(candidates)
    chosen: list[int] = []
    for port in candidates:
        if len(chosen) == count:
            return chosen
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            chosen.append(port)
    if len(chosen) == count:
        return chosen
    raise OSError(f"no {count} free ports between {_LOWEST} and {_ephemeral_from()}")


def _ephemeral_from() -> int:
    try:
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        lowest = 32_768
    # A machine that gives nearly everything to outgoing connections leaves no other choice.
    return lowest if lowest >= _LOWEST + 4_000 else 60_000
