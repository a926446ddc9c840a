"""A shard as one service sees it: its nodes by distance, and which of them may do what (the steward
says).
"""

from __future__ import annotations

from typing import Any

from stormgate.lab.design.health import Health
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services.database import Node

_WARM = 3


class ShardView:
    """The nodes of one shard; `cacheable`: its rows may be kept in this service's region."""

    def __init__(self, entry: dict[str, Any], settings: LabSettings) -> None:
        self.name: str = entry["name"]
        self.regions: list[str] = entry["regions"]
        self.cacheable: bool = entry["cacheable"]
        self.nodes = [
            Node(
                node["name"],
                node["region"],
                (node["host"], node["port"]),
                Health(settings.route_refused_s, settings.route_silent_s),
                _WARM,
            )
            for node in entry["nodes"]
        ]
        self.primary = ""
        self.epoch = 0
        self.readable: frozenset[str] = frozenset()

    def reader(self) -> Node | None:
        """The nearest node that lives and is current."""
        return next(
            (node for node in self.nodes if node.health.up and node.region in self.readable), None
        )

    def writer(self) -> Node | None:
        """The primary."""
        return next((node for node in self.nodes if node.region == self.primary), None)
