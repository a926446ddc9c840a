"""The ring: where keys are, how many move when it grows, and that none is away meanwhile."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stormgate.documents import load_target
from stormgate.lab.defects.edges.bad_hash import ModuloRing
from stormgate.lab.defects.edges.hot_shard import CalmServer
from stormgate.lab.design.plan import plan
from stormgate.lab.design.ring import Ring
from stormgate.lab.errors import LabError
from stormgate.lab.kinds.ring import wanted
from stormgate.lab.services.ring.server import RingServer
from stormgate.model import Target
from stormgate.net.httpserver import HttpRequest

LAB = Path(__file__).parents[3] / "targets"
KEYS = [f"user-{number}" for number in range(4_000)]
CONFIG = {"shards": 4, "most": 6, "capacity_per_s": 10.0, "virtual_nodes": 128}


def ring_of(count: int) -> Ring:
    return Ring(tuple(f"s{number}" for number in range(count)))


@pytest.mark.parametrize("count", [1, 4, 16, 63])
def test_one_shard_more_moves_its_share_and_no_other_key(count: int) -> None:
    before = ring_of(count)
    after = before.grown(f"s{count}")
    moved = before.moving(KEYS, after)
    assert len(moved) / len(KEYS) <= 1 / (count + 1) + 0.1
    assert moved
    assert {after.owner(key) for key in moved} == {f"s{count}"}


@pytest.mark.parametrize("count", [4, 16, 64])
def test_shards_have_about_the_same(count: int) -> None:
    shares = ring_of(count).shares(KEYS)
    assert sum(shares.values()) == pytest.approx(1)
    assert len(shares) == count
    assert 0.4 / count < min(shares.values()) <= max(shares.values()) < 1.8 / count


@given(st.text(max_size=50), st.integers(1, 20))
@settings(deadline=None)
def test_every_key_has_one_owner_whoever_asks(key: str, count: int) -> None:
    assert ring_of(count).owner(key) == ring_of(count).owner(key) in ring_of(count).shards


def test_modulo_moves_nearly_all() -> None:
    before = ModuloRing(ring_of(4).shards)
    assert len(before.moving(KEYS, before.grown("s4"))) / len(KEYS) > 0.7


def asked(server: RingServer, method: str, key: str, value: str = "") -> tuple[int, str, str]:
    body = json.dumps({"value": value}).encode() if method == "POST" else b""
    answer = asyncio.run(server.handle(HttpRequest(method, f"/ring/{key}", {}, body)))
    said = json.loads(answer.body)
    return answer.status, said.get("value", ""), answer.headers["x-chenu-ring-shard"]


def test_keys_are_read_and_written_while_they_move() -> None:
    server = RingServer(CONFIG)
    keys = KEYS[:400]
    first = {key: asked(server, "POST", key, "1")[2] for key in keys}
    assert server.split()
    assert not server.split(), "not while keys move"
    coming = set(server.moving)
    for turn in range(100):
        asyncio.run(server.move())
        for key in keys[turn % 7 :: 7]:
            assert asked(server, "GET", key)[:2] == (200, "1")
        if not server.moving:
            break
    assert not server.moving
    after = {key: asked(server, "GET", key)[2] for key in keys}
    moved = {key for key in keys if first[key] != after[key]}
    assert moved == coming
    assert {after[key] for key in moved} == {"ring-4"}
    assert 0.1 < len(moved) / len(keys) < 0.3
    assert sum(len(store) for store in server.stores.values()) == len(keys)
    assert asked(server, "POST", "new", "x")[2] == server.ring.owner("new")
    assert server.told()["moved"] == len(moved)


@pytest.mark.parametrize(("kind", "splits"), [(RingServer, 1), (CalmServer, 0)])
def test_a_shard_that_stays_hot_splits(kind: type[RingServer], splits: int) -> None:
    server = kind(CONFIG)
    asked(server, "POST", "some", "1")
    server.rates["ring-0"] = 1_000.0
    asyncio.run(server.look())
    assert server.splits == 0, "a moment is no load"
    server._cool_s -= 60
    asyncio.run(server.look())
    assert server.splits == splits


def test_it_is_there_only_where_it_is_asked_for() -> None:
    ring = plan(load_target(LAB / "lab-ring.yaml"))
    assert "ring" in [part.kind for part in ring.parts]
    assert sum(link.destination == "ring" for link in ring.links) == 2
    assert "ring" not in [part.kind for part in plan(load_target(LAB / "lab.yaml")).parts]


@pytest.mark.parametrize("said", [{"shards": 0}, {"most": 65}, {"shard": 4}, 4, {"shards": True}])
def test_what_cannot_be_is_refused(said: object) -> None:
    with pytest.raises(LabError, match=r"provision\.lab\.ring"):
        wanted(Target(name="t", provision={"lab": {"ring": said}}))
