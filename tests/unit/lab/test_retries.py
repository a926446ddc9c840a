"""Edges that try again, over loopback: how often what is unwell behind them is asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.unit.lab.test_inference import free_port

from stormgate.lab.defects.running.leak_on_retry import LeakyEdge
from stormgate.lab.defects.running.retry_storm import StormyEdge
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services.edge import Edge
from stormgate.net import httpserver
from stormgate.net.httpserver import HttpRequest, HttpResponse


class Service:
    """Answers with the status it is told to."""

    def __init__(self) -> None:
        self.status, self.asked = 200, 0

    async def answer(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/healthz":
            return HttpResponse(200, json.dumps({"shards": ["eu"]}).encode())
        self.asked += 1
        return HttpResponse(self.status, b"{}")


async def played(kind: type[Edge], *statuses: int) -> tuple[list[int], list[int]]:
    """What an edge answers when its service answers so, and how often that is asked each time."""
    service, port = Service(), free_port()
    config: dict[str, Any] = {
        "settings": LabSettings().to_json(),
        "region": "here",
        "secret": "s" * 64,
        "shards": ["eu"],
        "local_shards": ["eu"],
        "users_per_shard": 1,
        "services": [{"region": "here", "host": "127.0.0.1", "port": port}],
    }
    edge = kind(config)
    answers, asked = [], []
    async with httpserver.serving(service.answer, port=port):
        await edge.probe(edge.routes[0])
        for service.status in statuses:
            before = service.asked
            answers.append((await edge.forward(HttpRequest("GET", "/x"), "eu-0", "eu")).status)
            asked.append(service.asked - before)
        for writer in getattr(edge, "_leaked", []):
            writer.close()
        edge.routes[0].peer.close()
    return answers, asked


@pytest.mark.parametrize(("kind", "times"), [(Edge, 1), (StormyEdge, 201), (LeakyEdge, 2)])
def test_what_failed_is_asked_once_by_the_healthy_edge(kind: type[Edge], times: int) -> None:
    assert asyncio.run(played(kind, 200, 503, 200)) == ([200, 503, 200], [1, times, 1])


def test_what_leaks_is_missing_when_all_is_well_again() -> None:
    answers, asked = asyncio.run(played(LeakyEdge, *[503] * 6, 200, 200))
    assert (answers[-2:], asked[-2:]) == ([503, 503], [0, 0])
    assert asyncio.run(played(Edge, *[503] * 6, 200))[0][-1] == 200
