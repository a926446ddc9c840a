"""Less CPU in place, and replicas that an autoscaler holds."""

from __future__ import annotations

import json

import pytest
from tests.live.chaos_fixture import wait_until
from tests.live.kubernetes.standin import kubeconfig

from stormgate.faults.errors import CannotBreak, Unproven
from stormgate.faults.looks.leftovers import undo_left

pytestmark = pytest.mark.live


@pytest.fixture
def told(here):
    """The nodes have said what the containers have."""
    wait_until(lambda: all(p["status"].get("containerStatuses") for p in here.world.pods_of("web")))
    return here


def cpu(here):
    return [
        tuple(
            p["spec"]["containers"][0]["resources"][kind]["cpu"] for kind in ("limits", "requests")
        )
        for p in here.world.pods_of("web")
    ]


def test_a_squeeze_is_seen_on_the_node_and_taken_back_to_what_it_was(told):
    uids = told.uids()
    [row] = told.break_(told.web(), "squeeze", cpu_millicores=100)
    assert "3 pods: the node gives main 100m CPU, 500m before" in row["proof"][0]["saw"]
    assert cpu(told) == [("100m", "100m")] * 3, "a request above the limit is none"
    assert told.uids() == uids, "nobody was restarted"
    told.undo()
    assert cpu(told) == [("500m", "250m")] * 3
    told.clean()
    assert told.undo() == []


def test_a_request_below_the_limit_stays(told):
    told.break_(told.web(), "squeeze", cpu_millicores=300, share="one of")
    assert sorted(cpu(told)) == [("300m", "250m"), ("500m", "250m"), ("500m", "250m")]
    told.undo()
    told.clean()


def test_a_node_that_does_not_follow_has_squeezed_nobody(told):
    told.world.resizes = False
    with pytest.raises(Unproven, match="its node still gives 500m to main"):
        told.break_(told.web(), "squeeze", cpu_millicores=100, proof_s=0.4)
    assert cpu(told) == [("500m", "250m")] * 3
    told.clean()


def test_what_could_not_be_taken_back_is_not_begun(told):
    with pytest.raises(CannotBreak, match="main has 500m CPU: 500m is no less"):
        told.break_(told.web(), "squeeze", cpu_millicores=500)
    told.world.cpu = {}
    told.world.workload("deployments", "free", 1)
    told.world.wait("free", 1)
    wait_until(lambda: told.world.pods_of("free")[0]["status"].get("containerStatuses"))
    with pytest.raises(CannotBreak, match="has no CPU limit, and one that is added in place"):
        told.break_(told.part(namespace="shop", deployment="free"), "squeeze", cpu_millicores=9)
    for pod in told.world.pods_of("web"):
        pod["spec"]["containers"][0]["resizePolicy"] = [
            {"resourceName": "cpu", "restartPolicy": "RestartContainer"}
        ]
    with pytest.raises(CannotBreak, match="would be restarted by it"):
        told.break_(told.web(), "squeeze", cpu_millicores=100)


def test_a_squeezed_pod_that_is_replaced_has_ended_it(told):
    told.break_(told.web(), "squeeze", cpu_millicores=100)
    told.world.let_go(told.world.pods_of("web")[0], 0)
    wait_until(lambda: told.rows("fault.lost"))
    assert "its successor has what the template says" in told.rows("fault.lost")[0]["saw"]
    told.world.wait("web", 3)
    told.undo()
    assert cpu(told) == [("500m", "250m")] * 3
    told.clean()


def test_a_squeeze_is_found_on_its_pods_without_a_ledger(told):
    told.break_(told.web(), "squeeze", cpu_millicores=100)
    target = told.context.target
    told.context.watch.end()
    (told.folder / "undo.ndjson").unlink()
    lease = told.world.one("leases", "shop", "stormgate-target")
    lease["metadata"]["annotations"] = {}
    lease["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"  # its run is gone
    found = undo_left(target, 10.0)
    assert (found.failed, len(found.undone)) == ((), 1)
    assert cpu(told) == [("500m", "250m")] * 3
    told.clean()


def scaler(here, least=2, most=9):
    of = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
    return here.world.put(
        "horizontalpodautoscalers",
        {
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"scaleTargetRef": of, "minReplicas": least, "maxReplicas": most},
        },
    )


def test_fewer_replicas_than_an_autoscaler_keeps_are_refused(here):
    scaler(here)
    with pytest.raises(CannotBreak, match="the autoscaler web keeps deployment/web in shop at 2"):
        here.break_(here.web(), "scale_down", replicas=1)
    assert here.deployment()["spec"]["replicas"] == 3


def test_an_autoscaler_rests_at_none_and_wakes_with_the_undo(here):
    scaler(here)
    [row] = here.break_(here.web(), "scale_down")
    assert "the autoscaler web rests while it has no replicas" in row["proof"][0]["saw"]
    here.undo()
    assert here.deployment()["spec"]["replicas"] == 3


def test_an_autoscaler_that_raises_it_again_is_a_fault_lost(here):
    held = scaler(here)
    [row] = here.break_(here.web(), "scale_down", replicas=2)
    assert "the autoscaler web (2 to 9) may raise it again" in row["proof"][0]["saw"]
    held["spec"]["minReplicas"] = 3
    wait_until(lambda: here.rows("fault.lost"))
    assert "set by 'kube-controller-manager'" in here.rows("fault.lost")[0]["saw"]
    here.undo()


def test_who_may_not_look_for_autoscalers_is_told_that_nobody_knows(here, tmp_path):
    lock = {(verb, "leases") for verb in ("create", "get", "delete")}
    here.world.rules["old"] = {
        ("get", "deployments"), ("patch", "deployments"), ("list", "pods"), *lock
    }  # fmt: skip
    config = kubeconfig(tmp_path / "old", here.port, "old")
    part = here.part(namespace="shop", deployment="web", kubeconfig=str(config))
    [row] = here.break_(part, "scale_down")
    assert "whether an autoscaler holds it may not be seen" in row["proof"][0]["saw"]
    here.undo()
    assert json.dumps(here.deployment()).count("stormgate") == 0
