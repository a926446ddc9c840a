"""Each planted fault of design shows itself to a user, and does not in the healthy lab (test_lab.py
holds that half).
"""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stormgate.documents import load_target
from stormgate.lab.runtime.launch import launch
from stormgate.model import Target
from stormgate.toxiproxy.client import Client as Toxiproxy

pytestmark = pytest.mark.live

LAB = Path(__file__).parents[2] / "targets" / "lab.yaml"
DEADLINE_S = 30.0


def _helper(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


client = _helper("lab_client")
LabWith = Callable[[str], AbstractContextManager[Target]]


@pytest.fixture
def lab_with(tmp_path: Path) -> LabWith:
    @contextmanager
    def make(defect: str) -> Iterator[Target]:
        running = launch(load_target(LAB), state=tmp_path, defect=defect, deadline_s=90.0)
        try:
            assert running.target.attributes["lab_defect"] == defect
            yield running.target
        finally:
            assert running.stop() == 0

    return make


def test_errors_as_200_says_200_for_what_failed(lab_with: LabWith) -> None:
    with lab_with("errors-as-200") as target:
        user = client.User(target, "frankfurt", "eu-1")
        client.kill(target.component("eu-west/db-eu"))
        reply = user.call(
            "POST", "/threads", {"id": str(uuid.uuid4()), "sphere": "personal", "title": "x"}
        )
        assert reply.status == 200
        assert "error" in reply.body


def test_stale_cache_hides_a_write_from_its_own_writer(lab_with: LabWith) -> None:
    with lab_with("stale-cache") as target:
        user = client.User(target, "london", "eu-2")
        user.call("GET", "/threads?sphere=personal")
        identity = user.write()
        assert identity is not None
        seen = user.call("GET", "/threads?sphere=personal").body["threads"]
        assert identity not in {thread["id"] for thread in seen}


def test_async_replication_loses_acknowledged_writes(lab_with: LabWith) -> None:
    with lab_with("async-replication") as target:
        user = client.User(target, "frankfurt", "eu-3")
        acknowledged = [user.write() for _ in range(20)]
        assert all(acknowledged)
        client.kill(target.component("eu-west/db-eu"))
        client.until(user.write, DEADLINE_S, "a write after the failover")
        found = {
            str(row[0])
            for row in client.rows(
                target, "eu-central/db-eu", "SELECT id FROM threads WHERE title = 'live'"
            )
        }
        assert set(acknowledged) - found


def test_eu_spill_stores_european_rows_in_america(lab_with: LabWith) -> None:
    with lab_with("eu-spill") as target:
        user = client.User(target, "frankfurt", "eu-4")
        client.kill(target.component("eu-west/db-eu"))
        spilt = client.until(
            lambda: (
                (
                    r := user.call(
                        "POST",
                        "/threads",
                        {"id": str(uuid.uuid4()), "sphere": "personal", "title": "s"},
                    )
                ).status
                == 201
                and r
            ),
            DEADLINE_S,
            "acknowledged without its shard",
        )
        assert spilt.headers["x-chenu-shard"] == "us"
        regions = {
            row[0]
            for row in client.rows(
                target, "us-east/db-us", "SELECT DISTINCT user_region FROM threads"
            )
        }
        assert "eu-central" in regions or "eu-west" in regions


def test_lost_update_loses_one_of_two_at_the_same_time(lab_with: LabWith) -> None:
    with lab_with("lost-update") as target:
        users = [client.User(target, "san-francisco", f"us-{number}") for number in range(4)]

        def add(turn: int) -> int:
            body = {"id": str(uuid.uuid4()), "add": 1}
            return int(users[turn % 4].call("POST", "/counters/likes", body).status)

        def transfer(turn: int) -> int:
            ends = {"from": turn % 2, "to": 1 - turn % 2}
            body = {"id": str(uuid.uuid4()), **ends, "amount": 10 + turn}
            return int(users[turn % 4].call("POST", "/transfers", body).status)

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(add, range(40))) == {200}
            moved = sum(
                (10 + turn) * (1 - 2 * (turn % 2))
                for turn, status in enumerate(pool.map(transfer, range(40)))
                if status == 200
            )
        assert users[0].call("GET", "/counters/likes").body["value"] < 40
        # An amount lost is in neither account, or in both.
        after = users[0].call("GET", "/accounts").body["accounts"]
        assert after["0"] != 1000 - moved


def test_double_apply_applies_a_repeated_write_again(lab_with: LabWith) -> None:
    with lab_with("double-apply") as target:
        user = client.User(target, "new-york", "us-7")
        thread = user.write()
        writes = [
            (f"/threads/{thread}/messages", {"id": str(uuid.uuid4()), "body": "x", "version": 5}),
            ("/counters/likes", {"id": str(uuid.uuid4()), "add": 1}),
            ("/transfers", {"id": str(uuid.uuid4()), "from": 0, "to": 1, "amount": 10}),
        ]
        for path, body in writes * 2:
            assert user.call("POST", path, body).status in {200, 201}
        assert user.call("GET", f"/threads/{thread}").body["versions"] == [5, 5]
        assert user.call("GET", "/counters/likes").body["value"] == 2
        assert user.call("GET", "/accounts").body["accounts"]["1"] == 1020


def test_split_brain_acknowledges_on_both_sides(lab_with: LabWith) -> None:
    with lab_with("split-brain") as target:
        london, frankfurt = (
            client.User(target, "london", "eu-8"),
            client.User(target, "frankfurt", "eu-9"),
        )
        # Everything between eu-west and the others goes, the steward's sight of it too; its users
        # stay.
        cut = [
            link
            for link in target.components
            if link.kind == "link"
            and ("eu-west/" in link.attributes["source"])
            != ("eu-west/" in link.attributes["destination"])
            and not link.attributes["source"].startswith("population/")
        ]
        proxies = Toxiproxy(cut[0].handle["url"])
        ways = ("upstream", "downstream")
        for name, way in ((link.handle["proxy"], way) for link in cut for way in ways):
            proxies.add_toxic(name, "timeout", {"timeout": 0}, name=f"cut_{way}", stream=way)

        # More of them than the old primary's connections bear, all waiting for its standby.
        crowd = ThreadPoolExecutor(60)
        for _ in range(60):
            crowd.submit(london.write)

        def side(user: Any) -> str | None:
            said = user.call("POST", "/counters/likes", {"id": str(uuid.uuid4()), "add": 1})
            return said.headers["x-chenu-node"] if said.status == 200 else None

        client.until(lambda: side(frankfurt) == "eu-central", DEADLINE_S, "the new primary")
        assert [side(london), side(frankfurt)] == ["eu-west", "eu-central"]
        for name, way in ((link.handle["proxy"], way) for link in cut for way in ways):
            proxies.remove_toxic(name, f"cut_{way}")
        client.until(lambda: client.whole(target), DEADLINE_S, "whole again, with one primary")
        assert {side(london), side(frankfurt)} == {"eu-central"}
        crowd.shutdown()
