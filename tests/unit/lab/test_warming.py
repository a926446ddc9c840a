"""What edges fetch before it is asked for."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.lab.test_inference import free_port, until

from stormgate.documents import load_target
from stormgate.lab.defects.edges.cold_morning import ColdEdge
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.design.warming import warming_of
from stormgate.lab.errors import LabError
from stormgate.lab.services.edge import Edge, run
from stormgate.lab.services.shared_cache import unchanged
from stormgate.lab.services.warming import Warmer
from stormgate.net import httpserver
from stormgate.net.httpserver import HttpRequest, HttpResponse

TARGETS = Path(__file__).parents[3] / "targets"


def test_a_warmer_waits_for_its_time_of_the_day() -> None:
    fetched: list[tuple[str, str]] = []

    async def fetch(path: str, shard: str) -> None:
        fetched.append((path, shard))

    warmer = Warmer({"at_s": 9, "ahead_s": 2, "paths": ["/a", "/b"]}, ["eu", "us"], fetch)
    asyncio.run(warmer.step(100.0))
    assert not fetched, "nobody has come: no day has begun"
    warmer.asked(100.0)
    warmer.asked(106.0)
    asyncio.run(warmer.step(106.9))
    assert not fetched
    asyncio.run(warmer.step(107.0))
    assert fetched == [("/a", "eu"), ("/a", "us"), ("/b", "eu"), ("/b", "us")]
    asyncio.run(warmer.step(108.0))
    assert len(fetched) == 4, "once"


async def morning(kind: type[Edge]) -> list[str]:
    """Where an edge has its answers from, once its warmer has had its time."""
    asked: list[str] = []

    async def origin(request: HttpRequest) -> HttpResponse:
        if request.path == "/healthz":
            return HttpResponse(200, json.dumps({"shards": ["eu"]}).encode())
        asked.append(request.path)
        return HttpResponse(200, b"{}", {"cache-control": "public, max-age=600"})

    port = free_port()
    config: dict[str, Any] = {
        "settings": LabSettings().to_json(),
        "region": "here",
        "secret": "s" * 64,
        "shards": ["eu"],
        "local_shards": ["eu"],
        "users_per_shard": 1,
        "services": [{"region": "here", "host": "127.0.0.1", "port": port}],
        "warmer": {"at_s": 0.2, "ahead_s": 0.2, "paths": ["/static/1", "/static/2"]},
    }
    edge = kind(config)
    token = edge.tokens.issue("eu-0", "eu", time.time())
    handler, loops = run(edge)

    async def cached(path: str) -> str:
        answer = await handler(HttpRequest("GET", path, {"authorization": f"Bearer {token}"}))
        return answer.headers["x-chenu-cache"]

    async with httpserver.serving(origin, port=port):
        tasks = [asyncio.create_task(loop) for loop in loops]
        await edge.probe(edge.routes[0])
        said = [await cached("/static/0")]
        if kind is Edge:
            await until(lambda: len(asked) == 3)
        else:
            await edge.warm()
        said += [await cached(f"/static/{n}") for n in (1, 2, 3)]
        for task in tasks:
            task.cancel()
        edge.routes[0].peer.close()
    return said


def test_who_has_it_already_is_told_that_it_is_unchanged() -> None:
    full = HttpResponse(200, b"{}", {"etag": '"a"', "cache-control": "max-age=60"})
    for known, status in (('"a"', 304), ('"b", "a"', 304), ('"b"', 200), ("", 200)):
        answer = unchanged(HttpRequest("GET", "/static/1", {"if-none-match": known}), full)
        assert (answer.status, answer.headers) == (status, full.headers)
    said = unchanged(HttpRequest("GET", "/", {"if-none-match": '"a"'}), full).encode(keep=True)
    assert said == b'HTTP/1.1 304 Not Modified\r\netag: "a"\r\ncache-control: max-age=60\r\n\r\n'
    late = HttpResponse(504, b"", {"etag": '"a"'})
    assert unchanged(HttpRequest("GET", "/", {"if-none-match": '"a"'}), late) is late


def test_what_was_warmed_is_there_for_the_first_who_asks() -> None:
    assert asyncio.run(morning(Edge)) == ["miss", "hit", "hit", "miss"]
    assert asyncio.run(morning(ColdEdge)) == ["miss"] * 4


@pytest.mark.parametrize(
    "asked",
    [
        3,
        {"atS": 9, "aheadS": 2},
        {"atS": 9, "aheadS": 10, "paths": ["/a"]},
        {"atS": True, "aheadS": 1, "paths": ["/a"]},
        {"atS": 9, "aheadS": 2, "paths": []},
        {"atS": 9, "aheadS": 2, "paths": ["a"]},
        {"atS": 9, "aheadS": 2, "paths": ["/a"], "spare": 1},
    ],
)
def test_what_cannot_be_is_refused(asked: Any) -> None:
    target = load_target(TARGETS / "lab-warm.yaml")
    lab = {**(target.provision or {})["lab"], "warmer": asked}
    with pytest.raises(LabError, match=r"provision\.lab\.warmer takes atS, aheadS"):
        warming_of(replace(target, provision={"lab": lab}))


def test_only_a_target_that_asks_has_a_warmer() -> None:
    assert warming_of(load_target(TARGETS / "lab.yaml")) is None
    found = warming_of(load_target(TARGETS / "lab-warm.yaml"))
    assert found is not None
    assert (found["at_s"], len(found["paths"])) == (15.0, 60)
