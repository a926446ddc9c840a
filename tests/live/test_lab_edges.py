"""Edges and the ring of shards over real HTTP: who is let in, what is kept, and which keys move."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.live.lab_client import Reply, request

from stormgate.documents import load_target
from stormgate.lab.runtime.launch import launch
from stormgate.model import Target

pytestmark = pytest.mark.live
TARGET = Path(__file__).parents[2] / "targets" / "lab-ring.yaml"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    target = load_target(TARGET)
    asked = {**(target.provision or {})["lab"], "rs256": True, "pops": 1}
    target = replace(target, provision={"lab": asked})
    running = launch(target, state=tmp_path_factory.mktemp("edges") / "state", deadline_s=90)
    try:
        yield running.target
    finally:
        running.stop()


class Somebody:
    """A user at an edge of theirs."""

    def __init__(self, lab: Target, number: int, edge: int = 0, **asked: Any) -> None:
        population = lab.populations[0]
        self.base = population.links[population.edges[edge]]
        reply = request(self.base, "POST", "/login", body={"user": f"eu-{number}", **asked})
        self.token: str = reply.body["token"]

    def ask(self, path: str, body: Any = None, token: str = "") -> Reply:
        method = "GET" if body is None else "POST"
        return request(self.base, method, path, token=token or self.token, body=body, timeout_s=10)


def test_a_token_is_taken_or_refused_at_the_edge(lab: Target) -> None:
    for algorithm in ("HS256", "RS256"):
        one, other = Somebody(lab, 1, alg=algorithm), Somebody(lab, 2, alg=algorithm)
        assert one.ask("/session").body["user"] == "eu-1"
        assert one.ask("/session").headers["server-timing"].startswith("auth;dur=")
        head, _, signature = one.token.split(".")
        forged = f"{head}.{other.token.split('.')[1]}.{signature}"
        assert one.ask("/session", token=forged).status == 401
        assert one.ask("/vault").status == 403
        assert Somebody(lab, 1, alg=algorithm, audience="else").ask("/session").status == 401


def test_what_is_the_same_for_all_is_fetched_once(lab: Target) -> None:
    one = Somebody(lab, 1)
    began_s = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: one.ask("/digest/personal"), range(6)))
    told = [reply.headers["x-chenu-cache"] for reply in replies]
    # Once, and once more for each 2 s that a busy machine let pass.
    assert 1 <= told.count("miss") <= 1 + (time.monotonic() - began_s) // 2
    assert set(told) <= {"miss", "shared", "hit"}
    end_s = time.monotonic() + 20
    while (again := one.ask("/digest/personal")).headers["x-chenu-cache"] != "miss":
        assert time.monotonic() < end_s, "it never ran out"
        time.sleep(0.2)
    assert again.body["made_ms"] > replies[0].body["made_ms"]


def test_a_split_moves_few_keys_and_loses_none(lab: Target) -> None:
    one = Somebody(lab, 1)
    ring = lab.component("ring").observe
    assert ring is not None
    address = f"http://{ring.address}"
    keys = [f"key-{number}" for number in range(120)]
    with ThreadPoolExecutor(8) as pool:
        written = pool.map(lambda key: one.ask(f"/ring/{key}", {"value": key}), keys)
        first = dict(zip(keys, written, strict=True))
        request(address, "POST", "/shards/split")  # too late where it split by itself
        end_s = time.monotonic() + 20
        while (told := one.ask("/shards").body)["moving"] or not told["splits"]:
            assert time.monotonic() < end_s, told
            time.sleep(0.1)
        read = pool.map(lambda key: one.ask(f"/ring/{key}"), keys)
        after = dict(zip(keys, read, strict=True))
    assert [reply.body.get("value") for reply in after.values()] == keys
    shard = "x-chenu-ring-shard"
    moved = [key for key in keys if first[key].headers[shard] != after[key].headers[shard]]
    assert 0 < len(moved) / len(keys) <= 1 / 5 + 0.1
    assert {after[key].headers[shard] for key in moved} == {"ring-4"}


def test_edges_know_who_somebody_is_without_the_core(lab: Target) -> None:
    """The last test here: it takes the services away."""
    at_pop, at_region = Somebody(lab, 3, edge=0), Somebody(lab, 3, edge=-1)
    assert lab.populations[0].edges[0] == "pop-london/pop"
    for component in lab.components:
        if component.kind == "service":
            found = json.loads(Path(component.handle["pid_file"]).read_text())
            os.kill(found["pid"], signal.SIGKILL)
    for somebody in (at_pop, at_region):
        assert somebody.ask("/session").status == 200
        assert somebody.ask("/session", token="x.y.z").status == 401
        assert somebody.ask("/threads").status in {502, 503, 504}
