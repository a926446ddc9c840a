"""A target document from a cluster loads as it is, and breaks what it lists."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from stormgate.commands.discover import command
from stormgate.documents import load_target
from stormgate.faults import backends

pytestmark = pytest.mark.live


def discovered(here, *more):
    argv = ["kubernetes", "--context", "staging", "--kubeconfig", str(here.config), *more]
    return CliRunner().invoke(command, argv)


def test_what_is_found_loads_and_can_be_broken(here, tmp_path, monkeypatch):
    here.world.put("namespaces", {"metadata": {"name": "shop"}})
    here.world.put("namespaces", {"metadata": {"name": "kube-system"}})
    here.world.workload("deployments", "dns", 1, namespace="kube-system")
    front = here.world.one("services", "shop", "web")
    front["spec"]["ports"] = [{"port": 8080}]
    front["status"] = {"loadBalancer": {"ingress": [{"ip": "127.0.0.7"}]}}
    outside = {"metadata": {"name": "db", "namespace": "shop"}, "spec": {"type": "ExternalName"}}
    here.world.put("services", outside)
    lone = {"metadata": {"name": "lone", "namespace": "shop"}, "status": {}}
    lone["spec"] = {"containers": [{"name": "main", "image": "x"}]}
    here.world.put("pods", lone)
    done = discovered(here)
    assert done.exit_code == 0, done.output
    path = tmp_path / "mine.yaml"
    path.write_text(done.output)
    target = load_target(path)
    assert target.environment == "production", "nobody breaks it before somebody has read it"
    assert {region.name for region in target.regions} == {"eu-west", "us-east"}
    names = {component.name for component in target.components}
    assert names == {
        "eu-west", "eu-west/nodes", "eu-west/zone-a", "eu-west/zone-b", "us-east",
        "us-east/nodes", "us-east/zone-c", "shop/web", "shop/web-service",
    }  # fmt: skip
    assert target.populations[0].links == {"front": "http://127.0.0.7:8080"}
    assert target.component("shop/web-service").observe.address == "127.0.0.7:8080"
    assert "# - service shop/db: it selects no pods" in done.output
    assert "# - pod shop/lone: no controller makes it anew" in done.output
    backend = backends.get("kubernetes")
    for component in target.components:
        if component.backend == "kubernetes":
            assert all(row.ok for row in backend.check(component, ["crash"], target)), component


def test_without_an_address_from_outside_somebody_has_to_say_it(here, tmp_path):
    done = discovered(here, "--namespace", "shop", "--name", "mine")
    path = tmp_path / "mine.yaml"
    path.write_text(done.output)
    assert load_target(path).populations[0].links == {"front": "${FRONT_URL}"}


def test_a_cluster_that_cannot_be_asked_is_one_line(here):
    here.world.rules["all-may"] = set()
    done = discovered(here)
    assert done.exit_code != 0
    assert 'cannot list resource "nodes"' in done.output
    assert len(done.output.strip().splitlines()) == 1
