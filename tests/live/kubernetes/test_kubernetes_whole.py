"""A target without a status document is whole when the platform of its components says so."""

from __future__ import annotations

import pytest
from tests.live.chaos_fixture import wait_until

from stormgate.faults.looks.whole import look_whole
from stormgate.model import Component, Target

pytestmark = pytest.mark.live


def test_the_cluster_says_whether_a_target_is_whole(here):
    nodes = here.part("nodes", region="eu-west")
    front = here.part("front", namespace="shop", service="web")
    target = here.target(here.web(), nodes, front)
    assert look_whole(target).whole, look_whole(target).why
    here.world.one("nodes", None, "node-a1")["spec"]["unschedulable"] = True
    status = look_whole(target)
    assert (status.reached, status.whole) == (True, False)
    assert status.why == "nodes: node node-a1 is cordoned"
    here.world.one("nodes", None, "node-a1")["spec"].pop("unschedulable")
    here.world.frozen = True
    here.world.let_go(here.world.pods_of("web")[0], 0)
    wait_until(lambda: "web: deployment/web: 2 of 3 ready" in look_whole(target).why)
    del here.world.objects[("deployments", "shop", "web")]
    assert "there is no deployment/web in shop" in look_whole(target).why


def test_where_no_platform_says_anything_nobody_can_tell():
    alone = Component(name="a", kind="service", backend="command")
    status = look_whole(Target(name="t", components=(alone,)))
    assert (status.reached, status.whole) == (False, False)
