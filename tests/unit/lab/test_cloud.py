"""The lab on AWS, on paper: zones, clusters and links, and the target that says so."""

from dataclasses import replace
from pathlib import Path

import pytest

from stormgate.documents import load_target
from stormgate.documents.components import Components
from stormgate.lab.design import cloud, resolve
from stormgate.lab.design.plan import plan
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.errors import LabError

ROOT = Path(__file__).resolve().parents[3]
TARGET = load_target(ROOT / "targets" / "lab-aws.yaml")


def wiring(target=TARGET):
    layout = plan(target)
    names = [part.name for part in layout.parts] + [link.name for link in layout.links]
    ports = dict(zip(names, range(10_000, 10_000 + len(names)), strict=True))
    return Wiring(layout, ports, LabSettings(), Path("/work"), Path("/state"), "s" * 64)


def test_only_a_lab_that_asks_for_the_api_has_one():
    plain = load_target(ROOT / "targets" / "lab.yaml")
    assert not cloud.wanted(plain)
    assert cloud.NAME not in {part.name for part in plan(plain).parts}
    assert cloud.NAME in {part.name for part in plan(TARGET).parts}
    resolved = resolve.resolved(wiring(plain), "http://127.0.0.1:8474", None)
    assert {one.backend for one in resolved.components} == {"group", "process", "toxiproxy"}


def test_a_shard_is_one_cluster_in_two_zones_of_a_region():
    found = cloud.inventory(wiring())
    for cluster in found.clusters:
        zones = [zone for _, _, zone in cluster.members]
        assert len(set(zones)) == 2
        assert {zone[:-1] for zone in zones} == {cluster.region}
    for zone in found.zones:
        assert zone.links, zone.name
        assert {f"{zone.name}/{kind}" for kind in ("edge", "service", "cache")} <= set(
            zone.instances
        )
        assert not [name for name in zone.instances if "/db-" in name]


def test_a_zone_has_the_links_that_cross_its_border_and_no_other():
    wired = wiring()
    found = {zone.name: set(zone.links) for zone in cloud.inventory(wired).zones}
    for link in wired.layout.links:
        for name, links in found.items():
            ends = [end.startswith(f"{name}/") for end in (link.source, link.destination)]
            assert (link.proxy in links) == (sum(ends) == 1), link.name


def test_whatever_can_break_is_broken_by_aws_and_only_the_writers_are_of_their_region():
    resolved = resolve.resolved(wiring(), "http://127.0.0.1:8474", "slow-failover")
    named = {one.name: one for one in resolved.components}
    assert {one.backend for one in resolved.components} == {"aws", "group", "process"}
    assert {one.region for one in resolved.components if one.backend == "process"} == {None}
    assert "eu-west/db-eu" in named["eu-west"].parts
    assert "eu-central/db-eu" not in named["eu-central"].parts
    assert resolved.attributes["lab_defect"] == "slow-failover"
    urls = {one.handle["endpoint_url"] for one in resolved.components if one.backend == "aws"}
    assert urls == {resolved.attributes["awsEndpointUrl"]}
    accounts = {one.handle["account"] for one in resolved.components if one.backend == "aws"}
    assert accounts == {resolved.attributes["awsAccounts"]}


def test_models_are_functions_and_groups_and_break_by_the_calls_of_these():
    resolved = resolve.resolved(wiring(), "http://127.0.0.1:8474", None)
    named = {one.name: one for one in resolved.components}
    small, larger = named["eu-west/model-edge-gpu"], named["eu-west/model-regional-gpu"]
    assert (small.handle["service"], small.handle["ids"]) == ("lambda", ["eu-west-model-edge-gpu"])
    assert small.observe is None, "its server is there while it is throttled"
    assert (larger.handle["service"], larger.handle["ids"]) == ("asg", ["models-regional-gpu"])
    assert larger.handle["zone"] == named["eu-west/edge"].handle["zone"]
    assert {small.name, larger.name} <= set(named["eu-west"].parts)
    for zone in cloud.inventory(wiring()).zones:
        assert not [name for name in zone.instances if "/model-" in name]


def test_a_document_may_name_before_the_run_what_the_lab_on_aws_will_have():
    resolved = resolve.resolved(wiring(), "http://127.0.0.1:8474", None)
    there = {(one.name, one.kind, one.backend) for one in resolved.components}
    known = {
        (one.name, one.kind, one.backend)
        for one in Components(TARGET).known
        if one.backend == "aws"
    }
    assert len(known) == 5 * len(TARGET.regions)
    assert known <= there
    plain = Components(load_target(ROOT / "targets" / "lab.yaml")).names
    assert not [name for name in plain if ":" in name]


@pytest.mark.parametrize("where", ["zones", "continents"])
def test_a_lab_that_no_region_of_aws_could_hold_is_refused(where):
    if where == "zones":
        far = [replace(region, continent="EU") for region in TARGET.regions]
        why = "3 zones a continent"
    else:
        far = [replace(one, continent="AS") if one.name == "eu-central" else one
               for one in TARGET.regions]  # fmt: skip
        why = "'eu' is on two continents"
    with pytest.raises(LabError, match=why):
        cloud.inventory(wiring(replace(TARGET, regions=tuple(far))))
