"""Keys by their hash modulo the number of shards: one shard more, and nearly all are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stormgate.lab.design.ring import Ring, point
from stormgate.lab.services.ring import server
from stormgate.lab.services.serving import Running

SUMMARY = "the ring places keys by hash modulo the number of shards: a split moves nearly all"
FOUND_BY = ("keysMoved",)


@dataclass(frozen=True)
class ModuloRing(Ring):
    """No ring at all."""

    def owner(self, key: str) -> str:
        return self.shards[point(key) % len(self.shards)]


class ModuloServer(server.RingServer):
    """Counts its shards."""

    def first(self, names: tuple[str, ...], virtual_nodes: int) -> Ring:
        return ModuloRing(names, virtual_nodes)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a ring."""
    return server.run(ModuloServer(config))


PROGRAMS = {"ring": start}
