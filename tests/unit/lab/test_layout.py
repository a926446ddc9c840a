"""The lab on paper, its wiring, and what a wrong target is told."""

from __future__ import annotations

import random
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stormgate.documents import load_target
from stormgate.lab.defects import defects, planted, programs
from stormgate.lab.design import resolve
from stormgate.lab.design.layout import Layout
from stormgate.lab.design.plan import plan
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.errors import LabError
from stormgate.lab.runtime import ports
from stormgate.lab.services import schema
from stormgate.model import Target, from_json, to_json

LAB = Path(__file__).parents[3] / "targets" / "lab.yaml"
LAB_SOURCE = Path(defects.__code__.co_filename).parents[1]


@pytest.fixture(scope="module")
def target() -> Target:
    return load_target(LAB)


@pytest.fixture(scope="module")
def layout(target: Target) -> Layout:
    return plan(target)


def wire(layout: Layout, settings: LabSettings | None = None) -> Wiring:
    names = [part.name for part in layout.parts] + [link.name for link in layout.links]
    numbers = {name: 20_000 + index for index, name in enumerate(names)}
    return Wiring(
        layout, numbers, settings or LabSettings(), Path("/work"), Path("/state"), "secret"
    )


def test_every_hop_has_one_link(layout: Layout) -> None:
    names = [link.name for link in layout.links]
    assert len(names) == len(set(names)) == 6 * 4 + 4 * 4 + 4 + 4 * 4 + 4 + 4
    assert all("/" not in link.proxy for link in layout.links)


def test_links_inside_a_region_have_no_distance_and_others_do(layout: Layout) -> None:
    for link in layout.links:
        inside = link.source.split("/")[0] == link.destination.split("/")[0]
        assert (link.rtt_ms == 0) == (inside or link.source == "steward"), link
        assert sum(link.halves_ms) == link.rtt_ms


def test_users_take_the_edge_nearest_to_their_data(layout: Layout) -> None:
    first = {population: order[0] for population, order in layout.orders.items()}
    assert first == {
        "new-york": "us-east/edge",
        "san-francisco": "us-west/edge",
        "sao-paulo": "us-east/edge",
        "london": "eu-west/edge",
        "frankfurt": "eu-central/edge",
        "singapore": "us-west/edge",  # Frankfurt's edge is nearer, but its data is not
    }
    assert layout.orders["london"][:2] == ("eu-west/edge", "eu-central/edge")


def test_far_users_are_under_a_tenth(target: Target) -> None:
    shares = {population.name: population.share for population in target.populations}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["sao-paulo"] + shares["singapore"] < 0.10


def test_a_region_has_its_processes_and_every_link_that_touches_it(layout: Layout) -> None:
    resolved = resolve.resolved(wire(layout), "http://127.0.0.1:1", None)
    parts = set(resolved.component("eu-west").parts)
    assert {"eu-west/edge", "eu-west/service", "eu-west/cache", "eu-west/db-eu"} <= parts
    links = {c.name for c in resolved.components if c.kind == "link"}
    touching = {name for name in links if "eu-west/" in name}
    assert parts & links == touching
    assert "link:population/london->eu-west/edge" in touching
    assert "link:eu-central/db-eu->eu-west/db-eu" in touching


def test_the_resolved_target_survives_json(layout: Layout) -> None:
    resolved = resolve.resolved(wire(layout), "http://127.0.0.1:1", "slow-failover")
    assert from_json(Target, to_json(resolved)) == resolved
    assert resolved.attributes["lab_defect"] == "slow-failover"
    for population in resolved.populations:
        assert len(population.edges) == 4
        assert set(population.links) == set(population.edges)


def test_rows_are_cached_on_their_own_continent_only(layout: Layout) -> None:
    wiring = wire(layout)
    assert resolve.config(wiring, "us-east/edge")["local_shards"] == ["us"]
    cacheable = {
        shard["name"]: shard["cacheable"]
        for shard in resolve.config(wiring, "eu-central/service")["shards"]
    }
    assert cacheable == {"us": False, "eu": True}


@pytest.mark.parametrize(
    ("lab", "said"),
    [
        (None, "provision.lab is missing"),
        ({}, "at least one shard"),
        ({"shards": [{"name": "eu", "primary": "eu-west"}]}, "needs name, primary and standby"),
        ({"shards": [{"name": "eu", "primary": "eu-west", "standby": "mars"}]}, "'mars'"),
        (
            {"shards": [{"name": "eu", "primary": "eu-west", "standby": "eu-west"}]},
            "both in 'eu-west'",
        ),
        (
            {"shards": [{"name": "e'u", "primary": "eu-west", "standby": "us-west"}]},
            "letters, digits and dashes",
        ),
        (
            {
                "shards": [{"name": "eu", "primary": "eu-west", "standby": "us-west"}],
                "usersPerShard": 0,
            },
            "usersPerShard",
        ),
    ],
)
def test_a_wrong_lab_is_told_why(target: Target, lab: Any, said: str) -> None:
    with pytest.raises(LabError, match=said):
        plan(replace(target, provision=None if lab is None else {"lab": lab}))


def test_every_defect_changes_something_and_the_healthy_lab_nothing(layout: Layout) -> None:
    assert "slow-failover" in defects()
    healthy = programs(None)
    world = plan(load_target(LAB.parent / "chenu-edge.yaml"))
    for name, defect in defects().items():
        changed = (
            defect.settings(LabSettings()) != LabSettings()
            or any(defect.layout(one) != one for one in (layout, world))
            or programs(name) != healthy
        )
        assert changed, name
        assert "\n" not in defect.summary
    with pytest.raises(LabError, match="slow-failover"):
        planted("no-such")
    slow = planted("slow-failover").settings(LabSettings())
    assert LabSettings.from_json(slow.to_json()) == slow
    assert planted(None).settings(LabSettings()) == LabSettings()
    assert planted(None).layout(layout) is layout


def test_healthy_programs_know_nothing_of_defects() -> None:
    for path in (LAB_SOURCE / "services").rglob("*.py"):
        assert "defect" not in path.read_text(), path
    roles = {"alerter", "edge", "model", "pool", "pop", "ring", "service", "steward"}
    assert set(programs(None)) == roles


def test_replication_that_lags_does_so_on_the_way_back_alone(layout: Layout) -> None:
    late = planted("async-replication").layout(layout)
    databases = {part.name for part in layout.parts if part.kind == "database"}
    for before, after in zip(layout.links, late.links, strict=True):
        replicates = {before.source, before.destination} <= databases
        there_ms, back_ms = before.halves_ms
        assert after.halves_ms == (there_ms, back_ms + (2000 if replicates else 0))


def test_ports_are_free_different_and_not_ephemeral() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        chosen = ports.choose(50, random.Random(1))
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert len(set(chosen)) == 50
    assert max(chosen) < max(lowest, 60_000)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("eu-0", ("eu", 0)),
        ("us-999", ("us", 999)),
        ("eu-07", None),
        ("eu", None),
        ("-1", None),
        ("eu-1\n", None),
        ("EU-1", None),
        ("", None),
    ],
)
def test_parse_user(name: str, parsed: tuple[str, int] | None) -> None:
    assert schema.parse_user(name) == parsed
