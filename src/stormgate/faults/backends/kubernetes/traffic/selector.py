"""A Service's selector, moved away from its pods and back: what `detach` and a detour share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormgate.faults.backends import Observation
from stormgate.faults.backends.kubernetes.api import Json
from stormgate.faults.backends.kubernetes.handle import told
from stormgate.faults.backends.kubernetes.marks import (
    Steps,
    change,
    is_marked,
    mark_steps,
    pointer,
    put_back,
    unmark_steps,
)
from stormgate.faults.backends.kubernetes.ways import ClusterMode, Record, Site, named_object
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole

_SELECTOR = "/spec/selector"


class MovedSelector(ClusterMode):
    """The record's `after` has the label `key` with the fault's token as value; `moved` says in
    words what a Service with that label is.
    """

    key = ""
    moved = ""

    def selecting(self, site: Site) -> tuple[str, dict[str, Any], dict[str, str], set[str]]:
        """(resource, Service, its selector, its ready endpoints). Raises CannotBreak, NotWhole for
        one that cannot be moved now, KubernetesError.
        """
        resource, found = named_object(site)
        who, selector = f"{site.part.name}: {told(site.handle)}", found["spec"].get("selector")
        if not selector:
            raise CannotBreak(f"{who} selects no pods by labels")
        if self.key in selector:
            raise NotWhole(f"{who} is {self.moved} already")
        ready = ready_ends(site, str(found["metadata"]["name"]))
        if not ready:
            raise NotWhole(f"{who} had no ready endpoint before")
        return resource, found, dict(selector), ready

    def move(self, site: Site, record: Record) -> None:
        """Raises NotApplied, KubernetesError, VanishedError."""

        def steps(found: dict[str, Any]) -> Steps:
            if found["spec"].get("selector") != record["before"]:
                raise NotApplied(f"{site.part.name}: somebody changed its selector just now")
            return [
                {"op": "replace", "path": _SELECTOR, "value": record["after"]},
                *mark_steps(found, record),
            ]

        change(site.cluster, record["object"], steps)

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        def steps(found: dict[str, Any]) -> Steps:
            now = found["spec"].get("selector") or {}
            mend: Steps = []
            if now == record["after"]:
                mend = [{"op": "replace", "path": _SELECTOR, "value": record["before"]}]
            elif now.get(self.key) == record["after"][self.key]:
                # Somebody has set the rest meanwhile: that is theirs, our label is not.
                path = f"{_SELECTOR}{pointer(self.key)}"
                mend = [{"op": "remove", "path": path}]
            return [*mend, *(unmark_steps(found, record) if is_marked(found, record) else [])]

        put_back(site.cluster, record["object"], steps)

    def other(self, found: Json, record: Record) -> str:
        """That the selector is not the fault's any more, in words; "" while it is."""
        if found["spec"].get("selector") == record["after"]:
            return ""
        return "its selector is another one now: somebody put it back"

    def back(self, site: Site, record: Record) -> Observation:
        """Whether the Service selects pods again that are ready. Raises as named_object."""
        _, found = named_object(site)
        if is_marked(found, record) or self.key in (found["spec"].get("selector") or {}):
            return Observation(False, f"{told(site.handle)} is still {self.moved}")
        ready = ready_ends(site, str(found["metadata"]["name"]))
        return Observation(bool(ready), f"{told(site.handle)}: {len(ready)} endpoints ready")


def ready_ends(site: Site, service: str) -> set[str]:
    """The addresses that a Service leads to. Raises KubernetesError."""
    slices = site.cluster.list(
        "endpointslices", site.namespace, f"kubernetes.io/service-name={service}"
    )
    return {str(address) for one in slices for address in _addresses(one)}


def _addresses(found: Mapping[str, Any]) -> list[Any]:
    return [
        address
        for endpoint in found.get("endpoints") or []
        # Not said is ready, by the API's own words.
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint.get("addresses") or []
    ]
