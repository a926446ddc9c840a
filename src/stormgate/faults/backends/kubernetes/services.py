"""Traffic kept from pods: `detach` (a Service selects nothing) and `isolate` (a NetworkPolicy that
denies everything, shown to be enforced or found out not to be).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes.api import Json
from stormgate.faults.backends.kubernetes.handle import WORKLOADS, shape, told
from stormgate.faults.backends.kubernetes.marks import (
    Steps,
    VanishedError,
    change,
    is_marked,
    made,
    mark_steps,
    same,
    unmark_steps,
)
from stormgate.faults.backends.kubernetes.pods import reading
from stormgate.faults.backends.kubernetes.pooled import Pooled
from stormgate.faults.backends.kubernetes.ways import (
    ClusterMode,
    Permission,
    Record,
    Site,
    begun,
    named_object,
    where,
)
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed
from stormgate.faults.proof import silence_s
from stormgate.net.look import State, look

_DETACHED = "stormgate.dev/detached"
_BEFORE_S, _LOOK_S = 3.0, 1.0


class Detach(ClusterMode):
    """A Service that selects no pod: new connections have nowhere to go. What is connected lives on
    or not, as kube-proxy's mode has it.
    """

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (
            Permission("services", ("get", "patch")),
            Permission("endpointslices", ("list",)),
        )

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        resource, found = named_object(site)
        before = found["spec"].get("selector")
        if not before:
            raise CannotBreak(
                f"{site.part.name}: {told(site.handle)} selects no pods by labels, so it cannot be "
                "detached from them"
            )
        if _DETACHED in before:
            raise NotWhole(f"{site.part.name}: {told(site.handle)} is detached already")
        ready = self._ready(site, found)
        if not ready:
            raise NotWhole(f"{site.part.name}: {told(site.handle)} had no ready endpoint before")
        return begun(
            request,
            object=where(resource, found),
            before=dict(before),
            after={**before, _DETACHED: request.token},
            ready_before=ready,
        )

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        def steps(found: dict[str, Any]) -> Steps:
            if found["spec"].get("selector") != record["before"]:
                raise NotApplied(f"{site.part.name}: somebody changed its selector just now")
            return [
                {"op": "replace", "path": "/spec/selector", "value": record["after"]},
                *mark_steps(found, record),
            ]

        try:
            change(site.cluster, record["object"], steps)
        except VanishedError as error:
            raise NotApplied(f"{site.part.name}: {error}") from None

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        def steps(found: dict[str, Any]) -> Steps:
            mend: Steps = []
            if found["spec"].get("selector") == record["after"]:
                mend = [{"op": "replace", "path": "/spec/selector", "value": record["before"]}]
            return [*mend, *(unmark_steps(found, record) if is_marked(found, record) else [])]

        try:
            change(site.cluster, record["object"], steps)
        except VanishedError as error:
            if not error.replaced:
                raise

    def in_effect(self, site: Site, record: Record) -> Observation:
        found = same(site.cluster, record["object"])
        if found["spec"].get("selector") != record["after"]:
            return Observation(False, "its selector is another one now: somebody put it back")
        ready = self._ready(site, found)
        version = found["metadata"]["resourceVersion"]
        return Observation(
            ready == 0,
            f"{ready} of {record['ready_before']} endpoints ready (uid {record['object']['uid']}, "
            f"resourceVersion {version})",
        )

    def is_whole(self, site: Site, record: Record) -> Observation:
        _, found = named_object(site)
        if is_marked(found, record) or _DETACHED in (found["spec"].get("selector") or {}):
            return Observation(False, f"{told(site.handle)} is still detached")
        ready = self._ready(site, found)
        return Observation(ready > 0, f"{told(site.handle)}: {ready} endpoints ready")

    def by_hand(self, site: Site, record: Record) -> str:
        name, key = record["object"]["name"], _DETACHED.replace("/", "~1")
        steps = f'[{{"op":"remove","path":"/spec/selector/{key}"}}]'
        return site.kubectl(f"patch service {name} --type=json -p '{steps}'")

    def _ready(self, site: Site, found: Json) -> int:
        name = found["metadata"]["name"]
        slices = site.cluster.list(
            "endpointslices", site.namespace, f"kubernetes.io/service-name={name}"
        )
        return len(
            {
                address
                for one in slices
                for endpoint in one.get("endpoints") or []
                if (endpoint.get("conditions") or {}).get("ready") is not False
                for address in endpoint.get("addresses") or []
            }
        )


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
        return begun(request, pods=self._selected(site), before_ms=before.latency_ms)

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
        now = look(seen, silence_s(float(record["before_ms"])))
        cut = now.state in {State.SILENT, State.REFUSED, State.RESET}
        if not cut:
            return Observation(
                False,
                f"the policy is there and {seen.address} still {now}: this cluster's network does "
                "not enforce it, or another policy allows it",
            )
        held = self._held.get(str(record["token"]))
        old = "none was at hand" if held is None else held.now()
        saw = f"new connections: {seen.address} {now}; the connection from before: {old}"
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
