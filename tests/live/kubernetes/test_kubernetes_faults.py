"""Faults of backend kubernetes against an API server over real HTTP: done, proven, undone, and what
comes in between.
"""

from __future__ import annotations

import json
import threading

import pytest
from tests.live.chaos_fixture import wait_until
from tests.live.kubernetes.standin import is_ready, kubeconfig

from stormgate.faults.errors import (
    CannotBreak,
    NotApplied,
    NotWhole,
    UndoFailed,
    Unproven,
)
from stormgate.model import Observe

pytestmark = pytest.mark.live


def nodes_of(here, app="web"):
    """Those that its pods are on, without those that are about to go."""
    pods = here.world.pods_of(app)
    return {pod["spec"].get("nodeName") for pod in pods if "_gone_at" not in pod}


def test_crash_deletes_these_very_pods_and_their_successors_make_it_whole(here):
    before = here.uids()
    [row] = here.break_(here.web(), "crash")
    assert not before & here.uids()
    assert "3 pods are gone by uid" in row["proof"][0]["saw"]
    here.undo()
    assert here.open() == []
    assert "3 of 3 ready" in here.rows("fault.cleared")[0]["proof"][0]["saw"]
    deleted = {path for verb, path in here.world.calls if verb == "DELETE" and "/pods/" in path}
    assert deleted == {
        f"/api/v1/namespaces/shop/pods/{pod['name']}" for pod in recorded(here)["pods"]
    }


def recorded(here):
    rows = [json.loads(line) for line in (here.folder / "undo.ndjson").read_text().splitlines()]
    return next(row for row in rows if row["step"] == "intent")["entry"]["record"]


def test_a_share_of_the_pods_and_those_of_one_zone(here):
    here.break_(here.web(), "crash", share="one of")
    here.undo()
    assert len(recorded(here)["pods"]) == 1
    zone = here.web(zone="zone-a")
    before = {p["metadata"]["uid"] for p in here.world.pods_of("web")
              if p["spec"]["nodeName"].startswith("node-a")}  # fmt: skip
    others = here.uids() - before
    assert before
    here.break_(zone, "crash")
    assert not before & here.uids()
    assert others <= here.uids()
    here.undo()


def test_a_pod_that_nothing_would_make_anew_is_refused(here):
    here.world.put(
        "pods",
        {"metadata": {"name": "lone", "namespace": "shop", "labels": {"app": "lone"}},
         "spec": {"containers": [{"name": "x", "image": "x"}]}, "status": {}},
    )  # fmt: skip
    here.world.wait("lone", 1)
    with pytest.raises(CannotBreak, match="lone: no controller owns it"):
        here.break_(here.part(namespace="shop", labels={"app": "lone"}), "crash")
    assert here.world.pods_of("lone")


def test_an_empty_selection_is_no_fault_on_nothing(here):
    with pytest.raises(CannotBreak, match="no pod is selected"):
        here.break_(here.part(namespace="shop", labels={"app": "nobody"}), "crash")
    with pytest.raises(CannotBreak, match="there is no deployment/other in shop"):
        here.break_(here.part(namespace="shop", deployment="other"), "scale_down")
    with pytest.raises(CannotBreak, match="there are no nodes of zone zone-z"):
        here.break_(here.part(zone="zone-z"), "zone_loss")


def test_scale_down_keeps_the_prior_number_in_ledger_and_object(here):
    here.break_(here.web(), "scale_down")
    wait_until(lambda: not here.world.pods_of("web"))
    found = here.deployment()
    assert found["spec"]["replicas"] == 0
    assert recorded(here)["before"] == 3
    notes = found["metadata"]["annotations"]
    [note] = [text for name, text in notes.items() if name.startswith("stormgate.dev/undo-")]
    assert json.loads(note) == recorded(here)
    here.undo()
    assert here.deployment()["spec"]["replicas"] == 3
    here.clean()


def test_a_fault_that_somebody_heals_is_lost_and_theirs_is_kept(here):
    here.break_(here.web(), "scale_down", replicas=1)
    with here.world.lock:
        found = here.deployment()
        found["spec"]["replicas"] = 5
        found["metadata"]["managedFields"] = [
            {"manager": "argocd", "time": "2026-01-01", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        ]
        here.world.touch(found)
    wait_until(lambda: here.rows("fault.lost"))
    assert "replicas are 5, not 1: set by 'argocd'" in here.rows("fault.lost")[0]["saw"]
    here.world.wait("web", 5)
    here.undo()
    assert here.deployment()["spec"]["replicas"] == 5, "theirs is not written over"
    here.clean()


def test_detach_empties_the_service_and_its_selector_comes_back(here):
    part = here.part(namespace="shop", service="web")
    [row] = here.break_(part, "detach")
    assert row["proof"][0]["saw"].startswith("0 of 3 endpoints ready (uid ")
    assert len(here.world.pods_of("web")) == 3
    here.undo()
    assert here.world.one("services", "shop", "web")["spec"]["selector"] == {"app": "web"}
    here.clean()


def test_evict_is_refused_by_a_budget_and_says_which(here):
    here.world.put(
        "poddisruptionbudgets",
        {"metadata": {"name": "keep", "namespace": "shop"},
         "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}}},
    )  # fmt: skip
    with pytest.raises(NotApplied, match="disruption budget keep needs 3 healthy pods and has 3"):
        here.break_(here.web(), "evict", within_s=0.6)
    assert here.open() == []
    here.world.one("poddisruptionbudgets", "shop", "keep")["spec"]["minAvailable"] = 2
    before = here.uids()
    here.break_(here.web(), "evict", within_s=8.0)
    assert not before & {p["metadata"]["uid"] for p in here.world.pods_of("web") if is_ready(p)}
    here.undo()


def test_a_zone_is_lost_and_comes_back_empty(here):
    here.world.workload("deployments", "api", 6)
    here.world.wait("api", 6)
    part = here.part(zone="zone-a")
    [row] = here.break_(part, "zone_loss")
    assert "2 nodes (node-a1, node-a2) hold none of" in row["proof"][0]["saw"]
    here.world.wait("api", 6)
    assert not {"node-a1", "node-a2"} & nodes_of(here, "api")
    here.undo()
    here.clean()
    assert not here.world.one("nodes", None, "node-a1")["spec"].get("taints")


def test_a_region_crashes_with_everything_in_it_and_stays_lost(here):
    before = {p["metadata"]["uid"] for p in here.world.pods_of("web")
              if not p["spec"]["nodeName"].startswith("node-c")}  # fmt: skip
    here.break_(here.part(region="eu-west"), "crash")
    here.world.wait("web", 3)
    wait_until(lambda: not before & here.uids())
    assert nodes_of(here) <= {"node-c1", "node-c2"}
    here.undo()
    here.clean()


def test_cordon_and_drain_take_back_only_what_was_ours(here):
    here.break_(here.part(node="node-a1"), "cordon")
    assert here.world.one("nodes", None, "node-a1")["spec"]["unschedulable"] is True
    here.undo()
    here.clean()
    here.world.one("nodes", None, "node-b1")["spec"]["unschedulable"] = True
    with pytest.raises(NotWhole, match="node-b1 was cordoned before"):
        here.break_(here.part(node="node-b1"), "cordon")
    at = sorted(nodes_of(here))[0]
    here.break_(here.part(node=at), "drain")
    here.world.wait("web", 3)
    assert at not in nodes_of(here)
    here.undo()
    assert "unschedulable" not in here.world.one("nodes", None, at)["spec"]
    assert here.world.one("nodes", None, "node-b1")["spec"]["unschedulable"] is True


def test_a_refused_drain_is_uncordoned(here):
    here.world.put(
        "poddisruptionbudgets",
        {"metadata": {"name": "keep", "namespace": "shop"},
         "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}}},
    )  # fmt: skip
    at = sorted(nodes_of(here))[0]
    with pytest.raises(NotApplied, match="keep"):
        here.break_(here.part(node=at), "drain", within_s=0.2)
    assert here.open() == []
    here.clean()


def test_a_bad_rollout_is_stuck_and_rolled_back(here):
    here.break_(here.web(), "bad_rollout")
    assert any(not is_ready(pod) for pod in here.world.pods_of("web"))
    here.undo()
    here.world.wait("web", 3)
    here.clean()


def test_a_leader_loses_its_lease(here):
    here.world.put(
        "leases",
        {"metadata": {"name": "boss", "namespace": "shop"},
         "spec": {"holderIdentity": "web-0", "leaseTransitions": 4}},
    )  # fmt: skip
    part = here.part(namespace="shop", lease="boss")
    [row] = here.break_(part, "leader_loss")
    assert row["proof"][0]["saw"].startswith("web-0 led, now stormgate-")

    def lead():
        lease = here.world.one("leases", "shop", "boss")
        wait_until(lambda: here.world.one("leases", "shop", "boss")["spec"]["holderIdentity"] == "")
        lease = here.world.one("leases", "shop", "boss")
        lease["spec"]["holderIdentity"] = "web-1"
        here.world.touch(lease)

    elected = threading.Thread(target=lead)
    elected.start()
    here.undo()
    elected.join()
    here.clean()


def test_an_object_that_was_deleted_is_dirty_with_the_command(here):
    here.break_(here.web(), "scale_down")
    del here.world.objects[("deployments", "shop", "web")]
    with pytest.raises(UndoFailed) as error:
        here.undo(deadline_s=0.5)
    assert "deployments/web is gone: somebody deleted it" in str(error.value)
    assert "kubectl --context staging -n shop scale deployments/web --replicas=3" in str(
        error.value
    )
    assert here.open() == ["web"]
    here.world.workload("deployments", "web", 2)
    here.world.wait("web", 2)
    here.undo()
    assert here.deployment()["spec"]["replicas"] == 2, "another one of its name is left alone"


def test_somebody_who_changes_it_at_the_same_time_is_not_written_over(here):
    part = here.web()
    here.target(part)
    here.world.meddle = 5
    here.break_(part, "scale_down", replicas=1)
    assert here.world.meddle == 0
    here.world.meddle = 5
    here.undo()
    assert here.deployment()["spec"]["replicas"] == 3
    here.clean()


def test_wrong_context_and_missing_permission_in_one_line(here, tmp_path):
    with pytest.raises(
        CannotBreak, match=r"has no context 'production' \(it has elsewhere, staging"
    ):
        here.break_(here.part(namespace="shop", deployment="web", context="production"), "crash")
    lock = {(verb, "leases") for verb in ("create", "get", "delete")}
    here.world.rules["reader"] = {("get", "deployments"), ("list", "pods"), *lock}
    config = kubeconfig(tmp_path / "reader", here.port, "reader")
    denied = here.part(namespace="shop", deployment="web", kubeconfig=str(config))
    with pytest.raises(NotApplied) as error:
        here.break_(denied, "scale_down")
    assert 'User "reader" cannot patch resource "deployments"' in str(error.value)
    assert "\n" not in str(error.value)
    assert here.deployment()["spec"]["replicas"] == 3
    here.world.rules.pop("reader")
    with pytest.raises(CannotBreak, match=r"401 Unauthorized \(the credentials"):
        here.break_(denied, "scale_down")


def test_an_api_server_that_is_not_there_is_one_line(here, tmp_path):
    config = kubeconfig(tmp_path / "gone", 1)  # nothing listens on port 1
    gone = here.part(namespace="shop", deployment="web", kubeconfig=str(config))
    with pytest.raises(CannotBreak, match=r"no answer: .*Connection refused") as error:
        here.break_(gone, "crash")
    assert "\n" not in str(error.value)


def test_a_throttling_server_is_asked_again(here):
    here.world.throttle = 3
    here.break_(here.web(), "scale_down", replicas=1)
    here.undo()
    assert here.world.throttle == 0


def test_a_policy_that_nothing_enforces_is_found_out_and_withdrawn(here):
    observe = Observe(protocol="tcp", address=f"127.0.0.1:{here.port}")
    part = here.web(observe=observe)
    with pytest.raises(Unproven, match="this cluster's network does not enforce it"):
        here.break_(part, "isolate", proof_s=0.5)
    assert not here.world.all("networkpolicies")
    assert here.open() == []
