"""The ring of shards, where `provision.lab.ring` asks for it. Program: services/ring/server.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stormgate.lab.design.layout import Hop, Layout, Process
from stormgate.lab.design.ring import VIRTUAL_NODES
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.errors import LabError
from stormgate.lab.kinds import ProcessKind
from stormgate.model import Target

_DEFAULTS = {"shards": 4, "most": 64, "capacityPerS": 100, "virtualNodes": VIRTUAL_NODES}


def wanted(target: Target) -> dict[str, Any] | None:
    """What the target asks for, with defaults, or None. Raises LabError for what cannot be."""
    asked = ((target.provision or {}).get("lab") or {}).get("ring")
    if asked is None:
        return None
    known = isinstance(asked, Mapping) and set(asked) <= set(_DEFAULTS)
    options: dict[str, Any] = {**_DEFAULTS, **asked} if known else {}
    numbers = [v for v in options.values() if isinstance(v, int) and not isinstance(v, bool)]
    if len(numbers) != len(_DEFAULTS) or min(numbers) < 1 or options["most"] > 64:
        raise LabError(
            f"target {target.name!r}: provision.lab.ring takes whole numbers from 1 for "
            f"{', '.join(_DEFAULTS)} (most: up to 64), not {asked!r}"
        )
    return options


class RingKind(ProcessKind):
    """Dialled by every region's service."""

    name = "ring"
    rank = 1
    program = "stormgate.lab.services.ring.server:start"

    def parts(self, layout: Layout) -> Iterable[Process]:
        return [] if wanted(layout.target) is None else [Process("ring", self.name)]

    def links(self, layout: Layout) -> Iterable[Hop]:
        for part in self.parts(layout):
            for region in layout.regions:
                yield Hop(f"{region}/service", part.name, 0)

    def config(self, wiring: Wiring, part: Process) -> dict[str, Any]:
        options = wanted(wiring.layout.target) or _DEFAULTS
        return {
            "shards": options["shards"],
            "most": options["most"],
            "capacity_per_s": options["capacityPerS"],
            "virtual_nodes": options["virtualNodes"],
        }


def way(wiring: Wiring, service: str) -> dict[str, Any] | None:
    """How a service reaches the ring, where there is one."""
    return None if wanted(wiring.layout.target) is None else wiring.via(service, "ring")


KIND = RingKind()
