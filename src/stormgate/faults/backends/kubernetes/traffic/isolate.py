"""`isolate`: a NetworkPolicy that denies everything, shown to be enforced or found out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes.handle import WORKLOADS, shape, told
from stormgate.faults.backends.kubernetes.inside.command import in_each
from stormgate.faults.backends.kubernetes.marks import is_marked, made
from stormgate.faults.backends.kubernetes.pods import noted, pods_of, reading
from stormgate.faults.backends.kubernetes.traffic.pooled import Pooled
from stormgate.faults.backends.kubernetes.ways import (
    ClusterMode,
    Permission,
    Record,
    Site,
    begun,
    named_object,
)
from stormgate.faults.errors import CannotBreak, NotWhole, UndoFailed
from stormgate.faults.proof import silence_s
from stormgate.net.look import State, look

_BEFORE_S, _LOOK_S = 3.0, 1.0
# How many new connections are tried at once: some nodes may enforce a policy and others not, and a
# Service leads each connection to any of the pods.
_LEAST_LOOKS, _MOST_LOOKS = 2, 8
_CUT = frozenset({State.SILENT, State.REFUSED, State.RESET})


class Isolate(ClusterMode):
    """A NetworkPolicy that allows nothing in or out of these pods. It is proven by a new connection
    from here, and one from before is looked at apart: many networks let those live on.
    """

    def __init__(self) -> None:
        self._held: dict[str, Pooled] = {}

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (
            *reading(handle),
            Permission("networkpolicies", ("get", "create", "delete")),
        )

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        if site.handle.get("region") or site.handle.get("zone"):
            raise CannotBreak(
                f"{site.part.name}: a NetworkPolicy selects pods by labels, not by where they run"
            )
        seen = site.part.observe
        if seen is None:
            raise CannotBreak(
                f"{site.part.name}: isolate needs an `observe` that leads to these pods: a policy "
                "that the network does not enforce looks like one that it does"
            )
        before = look(seen, _BEFORE_S)
        if not before.healthy:
            raise NotWhole(f"{site.part.name}: before the fault {seen.address} was {before}")
        if self._policy(site, request.token) is not None:
            raise NotWhole(f"{site.part.name}: there is a policy {_name(request.token)} already")
        named = [noted(pod) for pod in pods_of(site)]
        if not named:
            raise CannotBreak(f"{site.part.name}: {told(site.handle)}: no pod is selected")
        return begun(request, pods=self._selected(site), named=named, before_ms=before.latency_ms)

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        token = str(record["token"])
        if site.part.observe is not None:
            with contextlib.suppress(OSError, ValueError):
                self._held[token] = Pooled(site.part.observe)
        body = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": made(_name(token), record),
            "spec": {"podSelector": record["pods"], "policyTypes": ["Ingress", "Egress"]},
        }
        site.cluster.create("networkpolicies", site.namespace, body)

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        token = str(record["token"])
        held = self._held.pop(token, None)
        if held is not None:
            held.close()
        found = self._policy(site, token)
        if found is None:
            return
        if not is_marked(found, record):
            raise UndoFailed(f"{site.part.name}: policy {_name(token)} does not carry our mark")
        site.cluster.delete(
            "networkpolicies", site.namespace, _name(token), uid=found["metadata"]["uid"]
        )

    def in_effect(self, site: Site, record: Record) -> Observation:
        found = self._policy(site, str(record["token"]))
        if found is None:
            return Observation(False, f"policy {_name(str(record['token']))} is gone")
        seen = site.part.observe
        if seen is None:
            return Observation(False, "nobody can look at it from outside")
        timeout_s = silence_s(float(record["before_ms"]))
        looks = min(max(2 * len(record.get("named") or []), _LEAST_LOOKS), _MOST_LOOKS)
        every = in_each(lambda _: look(seen, timeout_s), range(looks))
        passed = [now for now in every if now.state not in _CUT]
        if passed:
            some = f"{len(passed)} of {looks} new connections pass: "
            return Observation(
                False,
                f"the policy is there and {seen.address} still {passed[0]}: "
                f"{some if len(passed) < looks else ''}this cluster's network does not enforce it, "
                "or another policy allows it",
            )
        now = every[0]
        held = self._held.get(str(record["token"]))
        old = "none was at hand" if held is None else held.now()
        saw = f"{looks} new connections: {seen.address} {now}; the connection from before: {old}"
        return Observation(True, saw)

    def is_whole(self, site: Site, record: Record) -> Observation:
        if self._policy(site, str(record["token"])) is not None:
            return Observation(False, f"policy {_name(str(record['token']))} is still there")
        if site.part.observe is None:
            return Observation(True, "the policy is gone")
        now = look(site.part.observe, _LOOK_S)
        return Observation(now.healthy, f"{site.part.observe.address} {now}")

    def by_hand(self, site: Site, record: Record) -> str:
        return site.kubectl(f"delete networkpolicy {_name(str(record['token']))}")

    def _policy(self, site: Site, token: str) -> dict[str, Any] | None:
        return site.cluster.find("networkpolicies", site.namespace, _name(token))

    def _selected(self, site: Site) -> dict[str, Any]:
        kind = shape(site.handle)
        if kind == "pods":
            return {"matchLabels": dict(site.handle["labels"])}
        _, found = named_object(site)
        selector = found["spec"].get("selector")
        if not selector:
            raise CannotBreak(f"{site.part.name}: {told(site.handle)} selects no pods by labels")
        return dict(selector) if kind in WORKLOADS else {"matchLabels": dict(selector)}


def _name(token: str) -> str:
    return f"stormgate-{token}"
