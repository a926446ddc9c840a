"""The lab as its users and its breakers meet it: one lab for all tests, broken and mended in
between.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from stormgate.documents import load_target
from stormgate.lab.errors import LabError
from stormgate.lab.runtime.launch import RunningLab, launch
from stormgate.model import Target
from stormgate.system import processes
from stormgate.toxiproxy.client import Client

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0


def _helper(name: str) -> ModuleType:
    """A module beside this one (importlib mode puts no test folder on the path)."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


client = _helper("lab_client")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    running = launch(
        load_target(ROOT / "targets" / "lab.yaml"),
        state=tmp_path_factory.mktemp("lab"),
        deadline_s=90.0,
    )
    yield running
    assert running.stop() == 0
    assert not (running.state / "topology.json").exists()


@pytest.fixture
def target(lab: RunningLab) -> Target:
    """The lab's target, with the lab whole."""
    client.until(lambda: client.whole(lab.target), DEADLINE_S, "whole before the test")
    return lab.target


HOMES = {
    "new-york": ("us-east", "us", "us-11"),
    "san-francisco": ("us-west", "us", "us-12"),
    "sao-paulo": ("us-east", "us", "us-13"),
    "london": ("eu-west", "eu", "eu-14"),
    "frankfurt": ("eu-central", "eu", "eu-15"),
    "singapore": ("us-west", "us", "us-16"),
}


@pytest.mark.parametrize("population", HOMES)
def test_every_population_reads_and_writes_at_home(target: Target, population: str) -> None:
    region, shard, name = HOMES[population]
    user = client.User(target, population, name)
    listed = user.call("GET", "/threads?sphere=business")
    assert listed.status == 200
    assert len(listed.body["threads"]) == 2
    again = user.call("GET", "/threads?sphere=business")
    assert (again.headers["x-chenu-cache"], again.body) == ("hit", listed.body)
    opened = user.call("GET", f"/threads/{listed.body['threads'][0]['id']}")
    assert len(opened.body["messages"]) == 3
    identity = str(uuid.uuid4())
    path = f"/threads/{listed.body['threads'][0]['id']}/messages"
    first, second = (user.call("POST", path, {"id": identity, "body": "once"}) for _ in range(2))
    assert (first.status, first.body["created"], second.status, second.body["created"]) == (
        201,
        True,
        200,
        False,
    )
    for reply in (listed, again, opened, first):
        assert (
            reply.headers["x-chenu-region"],
            reply.headers["x-chenu-edge"],
            reply.headers["x-chenu-shard"],
        ) == (
            region,
            region,
            shard,
        )


def test_a_write_is_in_its_own_regions_next_read(target: Target) -> None:
    user = client.User(target, "london", "eu-18")
    user.call("GET", "/threads?sphere=personal")
    identity = user.write()
    reply = user.call("GET", "/threads?sphere=personal")
    assert identity in {thread["id"] for thread in reply.body["threads"]}
    assert reply.headers["x-chenu-cache"] == "miss"


def test_a_thread_lists_every_version_that_was_written_to_it_once(target: Target) -> None:
    user = client.User(target, "london", "eu-19")
    thread = str(uuid.uuid4())
    begun = {"id": thread, "sphere": "personal", "title": "versioned", "version": 1}
    assert user.call("POST", "/threads", begun).status == 201
    message = str(uuid.uuid4())
    for version, identity in [(2, message), (2, message), (3, str(uuid.uuid4()))]:
        body = {"id": identity, "body": f"text {version}", "version": version}
        said = user.call("POST", f"/threads/{thread}/messages", body)
    assert (said.headers["x-chenu-node"], int(said.headers["x-chenu-epoch"]) >= 0) == (
        client.primary_of(target, "eu"),
        True,
    )
    opened = user.call("GET", f"/threads/{thread}").body
    assert opened["versions"] == [1, 2, 3]
    assert [message["version"] for message in opened["messages"]] == [3, 2]
    key = f"users/eu-19/threads/{thread}"
    # Every region's service answers the same, and so do both nodes themselves.
    for region in ("us-east", "us-west", "eu-west", "eu-central"):
        base = f"http://{target.component(f'{region}/service').observe.address}"
        assert client.request(base, "GET", f"/{key}").body["versions"] == [1, 2, 3]
    sql = f"SELECT version FROM versions WHERE key = '{key}' ORDER BY version"
    for region in ("eu-west", "eu-central"):
        assert client.rows(target, f"{region}/db-eu", sql) == [(1,), (2,), (3,)]
    for region, kept in [("eu-west", True), ("us-east", False)]:
        logs = Path(target.component(f"{region}/service").handle["pid_file"]).parents[1] / "logs"
        assert ("text 3" in (logs / f"{region}.service.log").read_text()) is kept


def test_counters_and_accounts_change_once_for_each_id(target: Target) -> None:
    user = client.User(target, "new-york", "us-22")
    before = user.call("GET", "/counters/views").body["value"]
    identity = str(uuid.uuid4())
    for applied in (True, False):
        added = user.call("POST", "/counters/views", {"id": identity, "add": 3}).body
        assert (added["value"], added["applied"]) == (before + 3, applied)
    moved = {"id": str(uuid.uuid4()), "from": 1, "to": 6, "amount": 250}
    held = user.call("GET", "/accounts").body["accounts"]
    for applied in (True, False):
        assert user.call("POST", "/transfers", moved).body["applied"] is applied
    after = user.call("GET", "/accounts").body
    assert (after["accounts"]["1"] - held["1"], after["accounts"]["6"] - held["6"]) == (-250, 250)
    assert after["total"] == 8000
    too_much = {"id": str(uuid.uuid4()), "from": 2, "to": 3, "amount": 9000}
    assert user.call("POST", "/transfers", too_much).status == 409
    assert user.call("GET", "/accounts").body == after


def test_profiles_and_spheres_come_from_the_edge_the_second_time(target: Target) -> None:
    user = client.User(target, "london", "eu-21")
    for path in ("/profile", "/spheres/creative"):
        tiers = [user.call("GET", path).headers["x-chenu-tier"] for _ in range(2)]
        assert tiers == ["primary", "edge"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/threads/not-a-uuid", None, 404),
        ("GET", f"/threads/{uuid.UUID(int=7)}", None, 404),
        ("GET", "/spheres/mars", None, 404),
        ("POST", "/threads", {"id": "x"}, 400),
        (
            "POST",
            f"/threads/{uuid.UUID(int=7)}/messages",
            {"id": str(uuid.UUID(int=8)), "body": ""},
            404,
        ),
        (
            "POST",
            "/threads",
            {"id": str(uuid.UUID(int=8)), "sphere": "personal", "title": "", "version": 0},
            400,
        ),
        ("POST", "/counters/likes", {"id": str(uuid.UUID(int=8)), "add": 0}, 400),
        ("POST", "/counters/none", {"id": str(uuid.UUID(int=8)), "add": 1}, 400),
        ("POST", "/transfers", {"id": str(uuid.UUID(int=8)), "from": 1, "to": 1, "amount": 1}, 400),
        ("GET", "/counters/none", None, 404),
        # What operators ask services for is no way past the edges to somebody else's threads.
        ("GET", f"/users/eu-1/threads/{uuid.UUID(int=7)}", None, 404),
        ("DELETE", "/threads", None, 405),
    ],
)
def test_nonsense_is_refused(
    target: Target, method: str, path: str, body: object, status: int
) -> None:
    assert client.User(target, "frankfurt", "eu-15").call(method, path, body).status == status


def test_tokens_are_checked_at_the_edge(target: Target) -> None:
    base = target.populations[0].links["us-east/edge"]
    token = client.request(base, "POST", "/login", body={"user": "us-1"}).body["token"]
    assert client.request(base, "GET", "/profile", token=token).status == 200
    assert client.request(base, "GET", "/profile", token=token[:-4] + "AAAA").status == 401
    assert client.request(base, "GET", "/profile").status == 401
    assert client.request(base, "POST", "/login", body={"user": "us-1000"}).status == 401


def test_rows_stay_on_their_continent(target: Target) -> None:
    for name in ("us-1", "eu-1"):
        assert client.User(target, "new-york", name).write()
    held = {
        database: {
            row[0]
            for row in client.rows(target, database, "SELECT DISTINCT user_region FROM threads")
        }
        for database in ("us-east/db-us", "us-west/db-us", "eu-west/db-eu", "eu-central/db-eu")
    }
    us, eu = {"us-east", "us-west"}, {"eu-west", "eu-central"}
    assert held == {
        "us-east/db-us": us,
        "us-west/db-us": us,
        "eu-west/db-eu": eu,
        "eu-central/db-eu": eu,
    }


def test_every_distance_is_there(target: Target) -> None:
    links = [component for component in target.components if component.kind == "link"]
    proxies = Client(links[0].handle["url"]).proxies()
    for link in links:
        toxics = {
            toxic.name: toxic.attributes["latency"]
            for toxic in proxies[link.handle["proxy"]].toxics
        }
        assert sum(toxics.values()) == int(link.attributes["rtt_ms"]), link.name
        assert set(toxics) <= {"rtt_up", "rtt_down"}


def test_a_dead_service_is_routed_around(target: Target) -> None:
    user = client.User(target, "new-york", "us-31")
    service = target.component("us-east/service")
    client.kill(service)
    try:
        reply = client.until(
            lambda: (r := user.call("GET", "/threads?sphere=creative")).status == 200 and r,
            10.0,
            "served elsewhere",
        )
        assert (reply.headers["x-chenu-edge"], reply.headers["x-chenu-region"]) == (
            "us-east",
            "us-west",
        )
    finally:
        client.start(service)


def test_a_dead_cache_only_makes_reads_misses(target: Target) -> None:
    user = client.User(target, "new-york", "us-32")
    cache = target.component("us-east/cache")
    # The test before may have sent this edge's requests elsewhere.
    client.until(
        lambda: user.call("GET", "/threads").headers["x-chenu-region"] == "us-east",
        10.0,
        "served at home",
    )
    client.kill(cache)
    try:
        replies = [user.call("GET", "/threads?sphere=creative") for _ in range(3)]
        assert [(reply.status, reply.headers["x-chenu-cache"]) for reply in replies] == [
            (200, "miss")
        ] * 3
    finally:
        client.start(cache)


def test_a_region_dies_and_comes_back(target: Target) -> None:
    """The whole story: users are moved, the shard fails over without losing an acknowledged write,
    the old primary rejoins.
    """
    user = client.User(target, "london", "eu-17")
    dead = client.processes_of(target, "eu-west")
    acknowledged = [client.until(user.write, 5.0, "a write before the fault")]
    for component in dead:
        client.kill(component)
    try:
        acknowledged.append(client.until(user.write, DEADLINE_S, "a write after the fault"))
        assert user.edge() == "eu-central/edge"
        assert client.role(target, "eu-central/db-eu") == ("up", "primary")
        assert not client.whole(target)
        acknowledged += [client.until(user.write, 5.0, "a write in the fault") for _ in range(5)]
    finally:
        for component in dead:
            client.start(component)
    client.until(lambda: client.whole(target), DEADLINE_S, "whole again")
    assert client.role(target, "eu-west/db-eu") == ("up", "standby")
    assert user.edge() == "eu-west/edge"
    acknowledged.append(client.until(user.write, 5.0, "a write after all"))
    for database in ("eu-west/db-eu", "eu-central/db-eu"):
        found = {
            str(row[0])
            for row in client.rows(target, database, "SELECT id FROM threads WHERE title = 'live'")
        }
        assert set(acknowledged) <= found


def test_a_dead_standby_holds_writes_up_only_for_a_moment(target: Target) -> None:
    user = client.User(target, "new-york", "us-41")
    standby = target.component("us-west/db-us")
    if client.role(target, standby.name)[1] != "standby":
        standby = target.component("us-east/db-us")
    client.kill(standby)
    try:
        acknowledged = [
            client.until(user.write, DEADLINE_S, "a write without the standby") for _ in range(3)
        ]
    finally:
        client.start(standby)
    client.until(
        lambda: client.whole(target),
        DEADLINE_S,
        "the standby follows again, and commits wait for it",
    )
    found = {
        str(row[0])
        for row in client.rows(target, standby.name, "SELECT id FROM threads WHERE title = 'live'")
    }
    assert set(acknowledged) <= found


def test_an_edge_whose_link_is_cut_is_left_by_those_users_only(target: Target) -> None:
    link = target.component("link:population/london->eu-west/edge")
    proxies = Client(link.handle["url"])
    londoner, other = (
        client.User(target, "london", "eu-51"),
        client.User(target, "new-york", "us-51"),
    )
    proxies.set_enabled(link.handle["proxy"], False)
    try:
        client.until(lambda: londoner.edge() == "eu-central/edge", 10.0, "London moved")
        assert other.edge() == "us-east/edge"
    finally:
        proxies.set_enabled(link.handle["proxy"], True)
    client.until(lambda: londoner.edge() == "eu-west/edge", 10.0, "London back")


def test_start_is_idempotent_and_names_what_it_does_not_know(
    lab: RunningLab, target: Target
) -> None:
    edge = target.component("us-east/edge")
    before = Path(edge.handle["pid_file"]).read_text()
    client.start(edge)
    assert Path(edge.handle["pid_file"]).read_text() == before
    with pytest.raises(LabError, match="runs in"):
        launch(lab.target, state=lab.state)


def test_kill_9_of_the_daemon_leaves_nothing(tmp_path: Path) -> None:
    running = launch(load_target(ROOT / "targets" / "lab.yaml"), state=tmp_path, deadline_s=90.0)
    work = Path(json.loads((tmp_path / "daemon.json").read_text())["control"]).parent
    recorded = [json.loads(line) for line in (work / "processes.ndjson").read_text().splitlines()]
    segments = [
        line.read_text().splitlines()[6].split()[1] for line in work.glob("*/postmaster.pid")
    ]
    assert (len(segments), len(recorded)) == (4, 19)
    before = set(os.listdir("/dev/shm"))
    os.kill(running.process.pid, signal.SIGKILL)
    assert running.process.wait() == -signal.SIGKILL
    client.until(lambda: not work.exists(), DEADLINE_S, "its folder is gone")
    assert not [row["name"] for row in recorded if processes.alive(row["pid"], row["start_ticks"])]
    left = {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}
    assert not left & set(segments)
    assert not {
        name for name in set(os.listdir("/dev/shm")) - before if re.match(r"PostgreSQL", name)
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["daemon.log", "logs", "target.json"]


def test_a_lab_that_cannot_be_says_why_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    target = load_target(ROOT / "targets" / "lab.yaml")
    with pytest.raises(LabError, match=r"no lab defect 'x'; there are: .*slow-failover"):
        launch(target, state=tmp_path, defect="x")
    assert "\n" not in (tmp_path / "error.txt").read_text().strip()
    assert not (tmp_path / "daemon.json").exists()
