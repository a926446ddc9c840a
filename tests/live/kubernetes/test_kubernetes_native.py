"""Actions of chaostoolkit-kubernetes that did nothing have failed, whatever they return."""

from __future__ import annotations

import importlib

import pytest

from stormgate.chaos import control

pytestmark = pytest.mark.live


def played(here, module, func, **arguments):
    """What the control makes of one of the driver's own actions, on the stand-in."""
    provider = {"type": "python", "module": module, "func": func, "arguments": arguments}
    activity = {"type": "action", "name": func, "provider": provider}
    secrets = {
        "KUBERNETES_HOST": f"http://127.0.0.1:{here.port}",
        "KUBERNETES_API_KEY": "all-may",
        "KUBERNETES_API_KEY_PREFIX": "Bearer",
        "KUBERNETES_VERIFY_SSL": "false",
    }
    control.before_activity_control(activity)
    action = getattr(importlib.import_module(module), func)
    state = {"status": "succeeded", "output": action(**arguments, secrets=secrets)}
    control.after_activity_control(activity, state)
    return state


@pytest.fixture
def driven(here, monkeypatch):
    # Else its client takes a kubeconfig that happens to lie at home.
    monkeypatch.setenv("HOME", str(here.folder))
    return here


CASES = [
    ("deployment", "delete_deployment", {"name": "nobody", "ns": "shop"}, "changed nothing"),
    ("pod", "terminate_pods", {"label_selector": "app=nobody", "ns": "shop"}, "matched nothing"),
    ("pod", "exec_in_pods", {"cmd": "ls", "label_selector": "app=web", "ns": "shop"}, "matched"),
]


@pytest.mark.parametrize(("family", "func", "arguments", "why"), CASES)
def test_a_vacuous_success_is_a_failed_action_with_its_reason(driven, family, func, arguments, why):
    state = played(driven, f"chaosk8s.{family}.actions", func, **arguments)
    assert state["status"] == "failed"
    assert why in state["exception"][0]


def test_what_was_really_done_stays_a_success(driven):
    state = played(
        driven, "chaosk8s.deployment.actions", "delete_deployment", name="web", ns="shop"
    )
    assert state["status"] == "succeeded", state
    assert ("deployments", "shop", "web") not in driven.world.objects


def test_a_drain_that_evicts_nobody_has_only_cordoned(driven):
    """The driver passes over pods with local storage, and calls that a success."""
    for pod in driven.world.pods_of("web"):
        pod["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    at = driven.world.pods_of("web")[0]["spec"]["nodeName"]
    state = played(driven, "chaosk8s.node.actions", "drain_nodes", name=at)
    assert state["status"] == "failed"
    assert "drain_nodes evicted no pod: it only cordoned" in state["exception"][0]
    assert driven.world.one("nodes", None, at)["spec"]["unschedulable"] is True
