"""`leader_loss`: the Lease by which replicas choose a leader is taken from its holder. The old
leader finds out when it renews; another may lead once the lease has run out.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes.api import Json
from stormgate.faults.backends.kubernetes.handle import told
from stormgate.faults.backends.kubernetes.marks import (
    Steps,
    change,
    is_marked,
    mark_steps,
    put_back,
    same,
    unmark_steps,
)
from stormgate.faults.backends.kubernetes.ways import (
    ClusterMode,
    Permission,
    Record,
    Site,
    begun,
    named_object,
    where,
)
from stormgate.faults.errors import NotApplied, NotWhole


class LeaderLoss(ClusterMode):
    """See the module."""

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (Permission("leases", ("get", "patch")),)

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        resource, found = named_object(site)
        holder = found["spec"].get("holderIdentity")
        if not holder:
            raise NotWhole(f"{site.part.name}: {told(site.handle)} has no holder: nobody leads")
        return begun(
            request,
            object=where(resource, found),
            holder=holder,
            changes=int(found["spec"].get("leaseTransitions") or 0),
        )

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        def steps(found: dict[str, Any]) -> Steps:
            if found["spec"].get("holderIdentity") != record["holder"]:
                raise NotApplied(f"{site.part.name}: another leads just now")
            now = site.cluster.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            return [
                {"op": "replace", "path": "/spec/holderIdentity", "value": _us(record)},
                {"op": "add", "path": "/spec/renewTime", "value": now},
                {"op": "add", "path": "/spec/leaseTransitions", "value": record["changes"] + 1},
                *mark_steps(found, record),
            ]

        change(site.cluster, record["object"], steps)

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        def steps(found: dict[str, Any]) -> Steps:
            mend: Steps = []
            if found["spec"].get("holderIdentity") == _us(record):
                mend = [{"op": "replace", "path": "/spec/holderIdentity", "value": ""}]
            return [*mend, *(unmark_steps(found, record) if is_marked(found, record) else [])]

        put_back(site.cluster, record["object"], steps)

    def in_effect(self, site: Site, record: Record) -> Observation:
        found = same(site.cluster, record["object"])
        holder = found["spec"].get("holderIdentity")
        changes = int(found["spec"].get("leaseTransitions") or 0)
        return Observation(
            holder != record["holder"] or changes > record["changes"] + 1,
            f"{record['holder']} led, now {holder or 'nobody'}; "
            f"{changes - record['changes']} changes of the leader",
        )

    def is_whole(self, site: Site, record: Record) -> Observation:
        _, found = named_object(site)
        holder = found["spec"].get("holderIdentity")
        led = bool(holder) and holder != _us(record) and not is_marked(found, record)
        return Observation(led, f"{told(site.handle)} is held by {holder or 'nobody'}")

    def by_hand(self, site: Site, record: Record) -> str:
        return site.kubectl(f"delete lease {record['object']['name']}")


def _us(record: Mapping[str, Any]) -> str:
    return f"stormgate-{record['token']}"


def expires_in_s(found: Json, now: datetime) -> float:
    """How long a Lease is still to be believed, s; negative when it has run out."""
    spec = found["spec"]
    renewed = spec.get("renewTime") or spec.get("acquireTime")
    if not renewed:
        return -1.0
    at = datetime.fromisoformat(str(renewed).replace("Z", "+00:00"))
    return float(spec.get("leaseDurationSeconds") or 0) - (now - at).total_seconds()
