"""What every mode has: the parameters it takes, the permissions it needs, and how it is planned,
done, seen and taken back at one site.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes.api import Cluster, cluster_of, run_label
from stormgate.faults.backends.kubernetes.handle import shape, told
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak
from stormgate.model import Component

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """The verbs a mode needs on a resource (`pods/eviction`), in the component's namespace or, for
    nodes and what runs on them, in the whole cluster.
    """

    resource: str
    verbs: tuple[str, ...]
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """One component and the cluster it is in."""

    part: Component
    cluster: Cluster = field(compare=False)

    @classmethod
    def of(cls, part: Component) -> Site:
        """Raises CannotBreak for a kubeconfig that leads nowhere."""
        return cls(part, cluster_of(part.handle))

    @property
    def handle(self) -> Mapping[str, Any]:
        """The component's handle."""
        return self.part.handle

    @property
    def namespace(self) -> str | None:
        """Its namespace; None for nodes."""
        found = self.part.handle.get("namespace")
        return None if found is None else str(found)

    def kubectl(self, command: str) -> str:
        """A kubectl command line for this site."""
        inside = f" -n {self.namespace}" if self.namespace else ""
        return f"kubectl --context {self.cluster.access.context}{inside} {command}"


class ClusterMode:
    """One mode, for the kinds of components it is offered for."""

    parameters: type[Parameters] = Parameters

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        """What it needs to be allowed to do, undo included."""
        raise NotImplementedError

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        """See Backend.plan; may raise KubernetesError too."""
        raise NotImplementedError

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        """See Backend.apply; may raise KubernetesError and VanishedError too."""
        raise NotImplementedError

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        """See Backend.undo; may raise KubernetesError and VanishedError too. By default there is
        nothing to take back: a controller makes anew what is gone.
        """

    def in_effect(self, site: Site, record: Record) -> Observation:
        """See Backend.in_effect."""
        raise NotImplementedError

    def is_whole(self, site: Site, record: Record) -> Observation:
        """See Backend.is_whole."""
        raise NotImplementedError

    def by_hand(self, site: Site, record: Record) -> str:
        """The command that finishes the undo by hand."""
        return site.kubectl("get pods")


def begun(request: FaultRequest, **more: Any) -> dict[str, Any]:
    """What every record holds. Its keys are none of a handle's: those follow the handle when a
    fault is undone with today's target document.
    """
    return {"mode": request.mode, "token": request.token, "run": run_label(), **more}


def where(resource: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The name of the very object: by uid, so that one of the same name is no match."""
    about = found["metadata"]
    return {
        "resource": resource,
        "ns": about.get("namespace"),
        "name": about["name"],
        "uid": about["uid"],
    }


def named_object(site: Site) -> tuple[str, dict[str, Any]]:
    """(resource, object) of a component that names one. Raises CannotBreak when it is not there,
    KubernetesError.
    """
    kind = shape(site.handle)
    resource = f"{kind}s"
    found = site.cluster.find(resource, site.namespace, str(site.handle[kind]))
    if found is None:
        raise CannotBreak(f"{site.part.name}: there is no {told(site.handle)}")
    return resource, found
