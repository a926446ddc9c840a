"""Exposure: did traffic run through what is about to be broken? A fault that nobody could meet
proves nothing.

Looked at before anything is asked or broken, so that no look of ours is taken for traffic. The
kernel is asked who is connected to the addresses where a part's traffic arrives; whoever that is
counts, a health check too. The judge joins what the samples say (judge/rules/exposure.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stormgate.faults import backends
from stormgate.faults.errors import ChaosError
from stormgate.model import Component
from stormgate.system.connections import Endpoint, KernelConnection, connections, place

# How long an address without any connection is watched for one that comes and goes.
WATCH_S = 1.0
_PAUSE_S = 0.02

Snapshot = Callable[[], "frozenset[KernelConnection] | None"]


@dataclass(frozen=True, slots=True)
class Exposure:
    """Whether traffic ran through something (None: nobody here can tell), and what was seen."""

    used: bool | None
    saw: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in `fault.requested`."""
        return {"used": self.used, "saw": self.saw}


def look(
    wanted: Mapping[str, Sequence[Component]],
    *,
    stop: threading.Event | None = None,
    watch_s: float = WATCH_S,
    snapshot: Snapshot = connections,
) -> dict[str, Exposure]:
    """The exposure of each thing, given the parts that stand for it: one used part is enough.
    Returns at once when all are used or have no address to be seen at, else after `watch_s`.
    """
    places = {name: _places(parts) for name, parts in wanted.items()}
    before = snapshot()
    if before is None:
        return dict.fromkeys(wanted, Exposure(None, "this machine does not list its connections"))
    # What was over already may have been a look of our own; what is over in a moment was not there
    # before.
    old = frozenset(one for one in before if not one.open)
    found: dict[str, Exposure] = {}
    waiter, end = stop or threading.Event(), time.monotonic() + watch_s
    now: frozenset[KernelConnection] = before
    while True:
        fresh = [one for one in now if one.open or one not in old]
        for name, own in places.items():
            if name not in found and (seen := _seen(own, fresh)) is not None:
                found[name] = seen
        open_questions = [name for name in wanted if name not in found and _seeable(places[name])]
        if not open_questions or time.monotonic() >= end or waiter.wait(_PAUSE_S):
            break
        now = snapshot() or frozenset()
    return {name: found.get(name) or _unseen(places[name], watch_s) for name in wanted}


def _places(parts: Sequence[Component]) -> list[tuple[str, str, Endpoint | None]]:
    """(part, address, place) of each address where traffic of these parts arrives."""
    return [(part.name, address, place(address)) for part in parts for address in _addresses(part)]


def _addresses(part: Component) -> Sequence[str]:
    try:
        return backends.get(part.backend).arrivals(part)
    except ChaosError:
        return ()


def _seeable(places: Sequence[tuple[str, str, Endpoint | None]]) -> bool:
    """Whether waiting could show anything: there is an address that can be told."""
    return any(where is not None for _, _, where in places)


def _seen(
    places: Sequence[tuple[str, str, Endpoint | None]], fresh: Sequence[KernelConnection]
) -> Exposure | None:
    for part, address, where in places:
        if where is None:
            continue
        # A connection within this machine is listed from both ends, and counts once.
        ends = {frozenset((one.local, one.remote)) for one in fresh if where.is_end_of(one)}
        if ends:
            count = f"{len(ends)} connections" if len(ends) > 1 else "a connection"
            return Exposure(True, f"{part}: {count} to {address}")
    return None


def _unseen(places: Sequence[tuple[str, str, Endpoint | None]], watch_s: float) -> Exposure:
    if not places:
        return Exposure(None, "no address is known where its traffic arrives")
    away = [address for _, address, where in places if where is None or not where.here]
    if away:
        return Exposure(None, f"{away[0]} is not on this machine, and nothing here dials it")
    listed = ", ".join(address for _, address, _ in places[:3])
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return Exposure(False, f"no connection to {listed}{more} in {watch_s:g} s")
