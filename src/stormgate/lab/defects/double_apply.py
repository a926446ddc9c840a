"""A write that is said twice happens twice: nobody remembers what was done already."""

from __future__ import annotations

import uuid
from typing import Any

from stormgate.lab.services import service
from stormgate.lab.services.books import Books
from stormgate.lab.services.database import Node
from stormgate.lab.services.serving import Running
from stormgate.lab.services.shards import ShardView
from stormgate.net.httpserver import HttpResponse

SUMMARY = "the client's id of a write is not looked at: a retried write is applied again"
FOUND_BY = ("counter", "bank")


def _fresh() -> str:
    return str(uuid.uuid4())


class AgainBooks(Books):
    """Takes every repetition for news."""

    async def add(self, node: Node, values: dict[str, Any]) -> str:
        return await super().add(node, {**values, "id": _fresh()})

    async def transfer(self, node: Node, values: dict[str, Any]) -> str:
        return await super().transfer(node, {**values, "id": _fresh()})


class AgainService(service.Service):
    """Stores every message under an id of its own making."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.books = AgainBooks(self.settings.service_timeout_s)

    async def store(
        self, shard: ShardView, values: dict[str, Any], parameters: dict[str, Any]
    ) -> HttpResponse:
        if "thread" in parameters:
            parameters = {**parameters, "id": _fresh()}
        return await super().store(shard, values, parameters)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such a service."""
    return service.run(AgainService(config))


PROGRAMS = {"service": start}
