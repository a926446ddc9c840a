"""What others do to the same objects while a fault is planned or stands: nothing that they did is
taken for ours, and nothing of ours is left because of them.
"""

from __future__ import annotations

import pytest

from stormgate.faults import backends
from stormgate.faults.backends import FaultRequest
from stormgate.faults.errors import NotApplied, UndoFailed

pytestmark = pytest.mark.live

BACKEND = backends.get("kubernetes")


def unmark(body):
    """As who strips annotations that they do not know."""
    body["metadata"]["annotations"] = {}
    body["metadata"].get("labels", {}).pop("stormgate.dev/run", None)


@pytest.mark.parametrize("mode", ["crash", "stop", "evict"])
def test_pods_that_somebody_else_ended_first_were_not_broken_by_us(here, mode):
    part = here.web()
    target = here.target(part)
    params = backends.parameters(part, mode, {})
    record = BACKEND.plan(
        FaultRequest(part=part, mode=mode, params=params, token="t1", target=target)
    )
    with here.world.lock:
        for pod in here.world.pods_of("web"):
            here.world.let_go(pod, 0)
    here.world.wait("web", 3)
    now = here.uids()
    with pytest.raises(NotApplied, match=r"somebody else ended web-.* nothing was left to break"):
        BACKEND.apply(part, record, here.context.stopping)
    assert here.uids() == now
    assert BACKEND.is_whole(part, record).seen


def test_a_scale_down_whose_mark_was_taken_away_is_put_back_all_the_same(here):
    here.break_(here.web(), "scale_down")
    with here.world.lock:
        found = here.deployment()
        unmark(found)
        found["metadata"]["managedFields"] = [
            {"manager": "stormgate", "time": "2026", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        ]
    here.undo()
    assert here.deployment()["spec"]["replicas"] == 3


def test_the_same_number_set_by_somebody_else_is_theirs(here):
    here.break_(here.web(), "scale_down")
    with here.world.lock:
        found = here.deployment()
        unmark(found)
        found["metadata"]["managedFields"] = [
            {"manager": "keda", "time": "2026", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        ]
    here.undo()
    assert here.deployment()["spec"]["replicas"] == 0


def test_a_selector_that_somebody_merged_into_loses_our_label_and_keeps_theirs(here):
    here.break_(here.part(namespace="shop", service="web"), "detach")
    with here.world.lock:
        service = here.world.one("services", "shop", "web")
        service["spec"]["selector"] = {**service["spec"]["selector"], "app": "web", "tier": "x"}
        here.world.touch(service)
    for pod in here.world.pods_of("web"):
        pod["metadata"]["labels"]["tier"] = "x"
    here.undo()
    assert here.world.one("services", "shop", "web")["spec"]["selector"] == {
        "app": "web", "tier": "x"
    }  # fmt: skip
    here.clean()


def test_a_taint_is_known_by_itself_when_its_mark_is_gone(here):
    here.break_(here.part(zone="zone-a"), "zone_loss")
    for name in ("node-a1", "node-a2"):
        unmark(here.world.one("nodes", None, name))
    here.undo()
    assert not here.world.one("nodes", None, "node-a1")["spec"].get("taints")
    here.clean()


def test_nodes_that_were_all_replaced_are_whole_when_their_successors_are(here):
    zone = here.part(zone="zone-a")
    here.break_(zone, "zone_loss")
    with here.world.lock:
        for name in ("node-a1", "node-a2"):
            del here.world.objects[("nodes", None, name)]
    with pytest.raises(UndoFailed, match="there are no nodes of zone zone-a"):
        here.undo(deadline_s=0.3)
    here.world.node("node-a9", "zone-a")
    here.undo()
    [row] = here.rows("fault.cleared")
    assert "nodes of zone zone-a are whole" in row["proof"][0]["saw"]


def test_a_service_that_was_made_anew_has_nothing_of_ours(here):
    part = here.part(namespace="shop", service="web")
    here.break_(part, "detach")
    with here.world.lock:
        del here.world.objects[("services", "shop", "web")]
    with pytest.raises(UndoFailed, match=r"services/web is gone.*kubectl .* patch service web"):
        here.undo(deadline_s=0.3)
    here.world.service("web", "web")
    here.undo()
    here.clean()


def test_a_statefulset_that_waits_for_a_bad_pod_gets_its_prior_release(here):
    here.world.workload("statefulsets", "state", 2)
    here.world.wait("state", 2)
    here.break_(here.part("state", namespace="shop", statefulset="state"), "bad_rollout")
    here.undo()
    here.world.wait("state", 2)
    images = {pod["spec"]["containers"][0]["image"] for pod in here.world.pods_of("state")}
    assert images == {"state:1"}
    here.clean()
