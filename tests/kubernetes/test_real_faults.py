"""Every fault on a real control plane: its own scheduler, controllers, admission and disruption
budgets, with pods that are processes.
"""

from __future__ import annotations

import signal
import time

import pytest
from tests.kubernetes.plane import CONTEXT, write_kubeconfig

from stormgate.faults import backends
from stormgate.faults.context import make_context
from stormgate.faults.errors import NotApplied, UndoFailed, Unproven
from stormgate.faults.inject import inject
from stormgate.faults.ledger import open_entries
from stormgate.faults.undo import undo_all
from stormgate.model import Component, Observe, Target

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes]

DEPLOYMENTS = "apis/apps/v1/namespaces/shop/deployments"


def deploy(plane, name, replicas, **spec):
    labels = {"app": name}
    pod = {
        "containers": [{"name": "main", "image": f"{name}:1"}],
        "terminationGracePeriodSeconds": 2,
        **spec,
    }
    plane.make(
        DEPLOYMENTS,
        {
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    )
    plane.make(
        "api/v1/namespaces/shop/services",
        {"metadata": {"name": name}, "spec": {"selector": labels, "ports": [{"port": 8080}]}},
    )


def wait_ready(plane, name, count):
    end = time.monotonic() + 20
    while len(plane.ready(name)) != count:
        assert time.monotonic() < end, f"{len(plane.ready(name))} of {count} {name} ready"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def web(plane):
    deploy(plane, "web", 6)
    wait_ready(plane, "web", 6)
    yield "web"
    plane.call("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Background"})
    plane.call("DELETE", "api/v1/namespaces/shop/services/web", {})
    wait_ready(plane, "web", 0)


@pytest.fixture
def trial(plane, web, tmp_path):
    """Break a component, and take it back: nothing of ours may be left on anything."""
    made = Trial(plane, tmp_path)
    yield made
    assert open_entries(tmp_path) == []
    wait_ready(plane, "web", 6)
    for path in (DEPLOYMENTS, "api/v1/namespaces/shop/services", "api/v1/nodes"):
        assert "stormgate.dev/undo" not in str(plane.call("GET", path)[1])


class Trial:
    def __init__(self, plane, folder):
        self.plane, self.folder = plane, folder

    def part(self, observe=None, **handle):
        given = {"context": CONTEXT, "kubeconfig": str(self.plane.config), **handle}
        held = backends.get("kubernetes").handle.model_validate(given).model_dump()
        return Component(
            name="it", kind="service", backend="kubernetes", handle=held, observe=observe
        )

    def break_(self, part, mode, proof_s=8.0, **params):
        target = Target(name="plane", components=(part,))
        self.context = make_context(target, self.folder, fault="trial", seed=0)
        return inject(self.context, [part], mode, params, proof_s=proof_s)

    def undo(self):
        return undo_all(self.context, deadline_s=20)


CASES = [
    ({"namespace": "shop", "deployment": "web"}, "crash", {}, "6 pods are gone by uid"),
    ({"namespace": "shop", "deployment": "web"}, "stop", {"share": "half of"}, "3 pods are gone"),
    ({"namespace": "shop", "labels": {"app": "web"}}, "evict", {"share": 1}, "1 pods are gone"),
    ({"namespace": "shop", "deployment": "web"}, "scale_down", {}, "replicas 6 -> 0"),
    ({"namespace": "shop", "deployment": "web"}, "bad_rollout", {}, "new release are not ready"),
    ({"namespace": "shop", "service": "web"}, "detach", {}, "0 of 6 endpoints ready"),
    ({"zone": "zone-a"}, "zone_loss", {}, "2 nodes (node-a1, node-a2) hold none"),
    ({"region": "us-east"}, "crash", {}, "2 nodes (node-c1, node-c2) hold none"),
    ({"node": "node-b1"}, "cordon", {}, "1 nodes are unschedulable"),
]


@pytest.mark.parametrize(
    ("handle", "mode", "params", "saw"),
    CASES,
    ids=[f"{mode}-{next(iter(reversed(h)))}" for h, mode, *_ in CASES],
)
def test_a_fault_is_proven_and_taken_back(trial, handle, mode, params, saw):
    [row] = trial.break_(trial.part(**handle), mode, **params)
    assert saw in row["proof"][0]["saw"]
    trial.undo()


def test_a_drain_that_a_budget_refuses_names_it_and_one_that_it_allows_empties_the_node(trial):
    budgets = "apis/policy/v1/namespaces/shop/poddisruptionbudgets"
    selector = {"matchLabels": {"app": "web"}}
    trial.plane.make(
        budgets, {"metadata": {"name": "keep"}, "spec": {"minAvailable": 6, "selector": selector}}
    )
    node = trial.plane.ready("web")[0]["spec"]["nodeName"]
    end = time.monotonic() + 10
    while (trial.plane.call("GET", f"{budgets}/keep")[1].get("status") or {}).get(
        "expectedPods"
    ) != 6:
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(NotApplied, match="disruption budget keep needs 6 healthy pods and has 6"):
        trial.break_(trial.part(node=node), "drain", within_s=1.0)
    trial.plane.call("DELETE", f"{budgets}/keep", {})
    trial.break_(trial.part(node=node), "drain")
    assert node not in {pod["spec"]["nodeName"] for pod in trial.plane.ready("web")}
    trial.undo()


def test_a_policy_without_a_network_that_enforces_it_is_found_out(trial):
    address = "127." + trial.plane.ready("web")[0]["status"]["podIP"].partition(".")[2]
    observe = Observe(protocol="http", address=f"{address}:8080")
    part = trial.part(observe, namespace="shop", deployment="web")
    with pytest.raises(Unproven, match="network does not enforce it"):
        trial.break_(part, "isolate", proof_s=1.0)


def test_an_api_server_that_falls_silent_in_mid_fault_is_dirty_in_time(trial):
    trial.break_(trial.part(namespace="shop", deployment="web"), "scale_down", replicas=3)
    trial.plane.signal("apiserver", signal.SIGSTOP)
    begun = time.monotonic()
    try:
        with pytest.raises(UndoFailed) as failed:
            undo_all(trial.context, deadline_s=3)
        took_s = time.monotonic() - begun
    finally:
        trial.plane.signal("apiserver", signal.SIGCONT)
    assert "no answer" in str(failed.value)
    assert "kubectl --context loopback -n shop scale deployments/web --replicas=6" in str(
        failed.value
    )
    # Its deadline, a last look, and what a busy machine adds: not the minutes a client may wait.
    assert took_s < 20
    trial.undo()


def test_the_printed_role_is_enough_on_a_real_authorizer(trial, tmp_path):
    from ruamel.yaml import YAML

    backend = backends.get("kubernetes")
    part = trial.part(namespace="shop", deployment="web")
    config = write_kubeconfig(trial.plane, tmp_path / "limited", "limited-token")
    limited = trial.part(namespace="shop", deployment="web", kubeconfig=str(config))
    [_, row] = [*backend.check(part, ["scale_down"], Target(name="t"))]
    assert row.ok
    denied = backend.check(limited, ["scale_down"], Target(name="t"))
    assert not all(one.ok for one in denied)
    [role] = YAML(typ="safe").load_all(backend.permissions([(part, ["scale_down"])]))
    rbac = "apis/rbac.authorization.k8s.io/v1/namespaces/shop"
    trial.plane.make(f"{rbac}/roles", role)
    trial.plane.make(
        f"{rbac}/rolebindings",
        {
            "metadata": {"name": "stormgate"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "stormgate",
            },
            "subjects": [
                {"kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io"}
            ],
        },
    )
    end = time.monotonic() + 10
    while not all(one.ok for one in backend.check(limited, ["scale_down"], Target(name="t"))):
        assert time.monotonic() < end
        time.sleep(0.05)
    trial.break_(limited, "scale_down", replicas=2)
    trial.undo()
    for kind in ("rolebindings", "roles"):
        trial.plane.call("DELETE", f"{rbac}/{kind}/stormgate", {})


def test_a_bad_release_of_a_statefulset_is_rolled_back_too(trial):
    """Its controller waits for the pod of the bad release, and does not replace it by itself."""
    sets, labels = "apis/apps/v1/namespaces/shop/statefulsets", {"app": "state"}
    pod = {
        "containers": [{"name": "main", "image": "state:1"}],
        "terminationGracePeriodSeconds": 2,
    }
    trial.plane.make(
        sets,
        {
            "metadata": {"name": "state"},
            "spec": {
                "serviceName": "state",
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    )
    try:
        wait_ready(trial.plane, "state", 2)
        trial.break_(trial.part(namespace="shop", statefulset="state"), "bad_rollout")
        trial.undo()
        wait_ready(trial.plane, "state", 2)
    finally:
        trial.plane.call("DELETE", f"{sets}/state", {"propagationPolicy": "Background"})
        wait_ready(trial.plane, "state", 0)


def test_whoever_last_wrote_the_replicas_is_known_without_our_mark(trial):
    trial.break_(trial.part(namespace="shop", deployment="web"), "scale_down", replicas=5)
    _, found = trial.plane.call("GET", f"{DEPLOYMENTS}/web")
    for kind in ("annotations", "labels"):
        for name in found["metadata"].get(kind) or {}:
            if name.startswith("stormgate.dev/"):
                path = f"/metadata/{kind}/{name.replace('/', '~1')}"
                step = {"op": "remove", "path": path}
                trial.plane.call(
                    "PATCH", f"{DEPLOYMENTS}/web", [step], kind="application/json-patch+json"
                )
    trial.undo()
    assert trial.plane.call("GET", f"{DEPLOYMENTS}/web")[1]["spec"]["replicas"] == 6


def test_what_is_discovered_loads_and_can_be_broken(trial, tmp_path):
    from click.testing import CliRunner

    from stormgate.commands.discover import command
    from stormgate.documents import load_target

    argv = ["kubernetes", "--context", CONTEXT, "--kubeconfig", str(trial.plane.config)]
    done = CliRunner().invoke(command, argv)
    assert done.exit_code == 0, done.output
    path = tmp_path / "mine.yaml"
    path.write_text(done.output)
    target = load_target(path)
    assert {region.name for region in target.regions} == {"eu-west", "eu-central", "us-east"}
    names = {component.name for component in target.components}
    assert {"eu-west", "eu-west/nodes", "eu-west/zone-a", "shop/web", "shop/web-service"} <= names
    backend = backends.get("kubernetes")
    for part in target.components:
        if part.backend == "kubernetes":
            modes = sorted(backend.modes_of(part.handle))
            assert all(row.ok for row in backend.check(part, modes, target)), part
