"""Each planted fault of design shows itself to a user, and does not in the healthy lab (test_lab.py
holds that half).
"""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from stormgate.documents import load_target
from stormgate.lab.runtime.launch import launch
from stormgate.model import Target

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
