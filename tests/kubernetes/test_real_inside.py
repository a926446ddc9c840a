"""Inside containers, in place and on the way there, on a real control plane: exec through its API
server to processes below a PID 1, resize through its validation, and a detour that its scheduler
places and its users pass.
"""

from __future__ import annotations

import time

import pytest
from tests.kubernetes.network import here as on_loopback
from tests.kubernetes.test_real_faults import DEPLOYMENTS, Trial, deploy, wait_ready
from tests.live.kubernetes.containers import possible

from stormgate.faults.errors import CannotBreak
from stormgate.faults.ledger import open_entries
from stormgate.model import Observe

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes]

CPU = {"limits": {"cpu": "500m"}, "requests": {"cpu": "250m"}}


@pytest.fixture(scope="module")
def back(plane):
    """Two pods below an init, with a CPU limit, and a Service in front."""
    image = "init:1" if possible() else "plain:1"
    container = {"name": "main", "image": image, "resources": CPU}
    deploy(plane, "back", 2, containers=[container])
    wait_ready(plane, "back", 2)
    yield "back"
    plane.call("DELETE", f"{DEPLOYMENTS}/back", {"propagationPolicy": "Background"})
    plane.call("DELETE", "api/v1/namespaces/shop/services/back", {})
    wait_ready(plane, "back", 0)


@pytest.fixture
def trial(plane, back, tmp_path):
    """Break it, and take it back: nothing of ours may be left on anything."""
    yield Trial(plane, tmp_path)
    assert open_entries(tmp_path) == []
    wait_ready(plane, "back", 2)
    end = time.monotonic() + 20
    for path in (DEPLOYMENTS, *(f"api/v1/namespaces/shop/{one}" for one in ("services", "pods"))):
        while "stormgate.dev/undo" in str(plane.call("GET", path)[1]):
            assert time.monotonic() < end, f"something of ours is left on {path}"
            time.sleep(0.1)


def service(plane):
    return plane.call("GET", "api/v1/namespaces/shop/services/back")[1]


needs_containers = pytest.mark.skipif(not possible(), reason="no PID namespaces on this machine")


@needs_containers
def test_what_runs_below_pid_1_is_frozen_and_wakes(trial):
    observe = Observe(
        protocol="http", address=f"{on_loopback(service(trial.plane)['spec']['clusterIP'])}:8080"
    )
    part = trial.part(observe, namespace="shop", deployment="back")
    [row] = trial.break_(part, "freeze")
    assert "2 processes in 2 pods are stopped (python" in row["proof"][0]["saw"]
    assert f"{observe.address} silent" in row["proof"][0]["saw"]
    trial.undo()


@needs_containers
def test_a_container_crashes_in_place(trial):
    before = {pod["metadata"]["uid"] for pod in trial.plane.ready("back")}
    [row] = trial.break_(trial.part(namespace="shop", deployment="back"), "crash_container")
    assert "restarts 0 -> 1 (exit code 137, Error)" in row["proof"][0]["saw"]
    trial.undo()
    wait_ready(trial.plane, "back", 2)
    assert {pod["metadata"]["uid"] for pod in trial.plane.ready("back")} == before


def test_a_limit_is_lowered_in_place_and_put_back(trial):
    [row] = trial.break_(
        trial.part(namespace="shop", deployment="back"), "squeeze", cpu_millicores=100
    )
    assert "2 pods: the node gives main 100m CPU, 500m before" in row["proof"][0]["saw"]
    trial.undo()
    for pod in trial.plane.ready("back"):
        assert pod["spec"]["containers"][0]["resources"] == CPU


def test_users_pass_a_detour_and_their_pods_again(trial):
    address = f"{on_loopback(service(trial.plane)['spec']['clusterIP'])}:8080"
    part = trial.part(
        Observe(protocol="http", address=address, path="/"),
        namespace="shop",
        service="back",
        detourImage="toxiproxy:1",
    )
    [row] = trial.break_(part, "slow", latency_ms=300)
    assert "all endpoints are the proxy stormgate-" in row["proof"][0]["saw"]
    trial.undo()
    assert service(trial.plane)["spec"]["selector"] == {"app": "back"}
    [row] = trial.break_(part, "refuse")
    trial.undo()


def test_an_autoscaler_is_known_and_rests_at_none(trial):
    scalers = "apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
    of = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "back"}
    spec = {"scaleTargetRef": of, "minReplicas": 2, "maxReplicas": 4}
    trial.plane.make(scalers, {"metadata": {"name": "back"}, "spec": spec})
    part = trial.part(namespace="shop", deployment="back")
    try:
        with pytest.raises(CannotBreak, match="the autoscaler back keeps deployment/back"):
            trial.break_(part, "scale_down", replicas=1)
        [row] = trial.break_(part, "scale_down")
        assert "the autoscaler back rests while it has no replicas" in row["proof"][0]["saw"]
        trial.undo()
    finally:
        trial.plane.call("DELETE", f"{scalers}/back", {})
