"""`detach`: a Service that selects nothing."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes.marks import pointer, same
from stormgate.faults.backends.kubernetes.traffic.selector import MovedSelector, ready_ends
from stormgate.faults.backends.kubernetes.ways import Permission, Record, Site, begun, where

_DETACHED = "stormgate.dev/detached"


class Detach(MovedSelector):
    """A Service that selects no pod: new connections have nowhere to go. What is connected lives on
    or not, as kube-proxy's mode has it.
    """

    key = _DETACHED
    moved = "detached"

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (
            Permission("services", ("get", "patch")),
            Permission("endpointslices", ("list",)),
        )

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        resource, found, before, ready = self.selecting(site)
        return begun(
            request,
            object=where(resource, found),
            before=before,
            after={**before, _DETACHED: request.token},
            ready_before=len(ready),
        )

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        self.move(site, record)

    def in_effect(self, site: Site, record: Record) -> Observation:
        found = same(site.cluster, record["object"])
        if why := self.other(found, record):
            return Observation(False, why)
        ready = len(ready_ends(site, str(found["metadata"]["name"])))
        version = found["metadata"]["resourceVersion"]
        return Observation(
            ready == 0,
            f"{ready} of {record['ready_before']} endpoints ready (uid {record['object']['uid']}, "
            f"resourceVersion {version})",
        )

    def is_whole(self, site: Site, record: Record) -> Observation:
        return self.back(site, record)

    def by_hand(self, site: Site, record: Record) -> str:
        name = record["object"]["name"]
        steps = f'[{{"op":"remove","path":"/spec/selector{pointer(_DETACHED)}"}}]'
        return site.kubectl(f"patch service {name} --type=json -p '{steps}'")
