"""What a target document says of a component that Kubernetes runs, and what kind of thing that is.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from stormgate.faults.declared import Handle

# RFC 1123, as the API server holds names to it; a path is built from them.
Name = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)
]
LabelKey = Annotated[
    str,
    StringConstraints(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$"),
]
LabelValue = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$", max_length=63)
]

WORKLOADS = ("deployment", "statefulset", "daemonset")
_NAMED = (*WORKLOADS, "pod", "service", "node", "lease")


class KubernetesHandle(Handle):
    """Where the component is: `context` of the kubeconfig (never the current one by chance), then
    one of `deployment`, `statefulset`, `daemonset`, `pod`, `service` or `lease` in a `namespace`,
    pods there by `labels`, a `node`, or all nodes of a `region` or `zone`
    (`topology.kubernetes.io/*`). With pods, `region` and `zone` keep those on such nodes.
    `container` is for what is done inside a pod; `detour_image` of a service is the Toxiproxy that
    may be run in front of it.
    """

    context: str = Field(min_length=1)
    kubeconfig: str | None = Field(default=None, min_length=1)
    namespace: Name | None = None
    deployment: Name | None = None
    statefulset: Name | None = None
    daemonset: Name | None = None
    pod: Name | None = None
    service: Name | None = None
    lease: Name | None = None
    node: Name | None = None
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    region: LabelValue | None = None
    zone: LabelValue | None = None
    container: Name | None = None
    detour_image: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        named = [one for one in _NAMED if getattr(self, one) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: a component is one of them")
        if named and self.labels:
            raise ValueError(f"{named[0]} and labels: a component is one of them")
        of_nodes = named == ["node"] or not (named or self.labels)
        if of_nodes and not (self.node or self.region or self.zone):
            raise ValueError(f"name one of {', '.join(_NAMED)}, or give labels, a region or a zone")
        if of_nodes and self.namespace is not None:
            raise ValueError("nodes are in no namespace: name what in it, or drop namespace")
        if not of_nodes and self.namespace is None:
            raise ValueError(f"{named[0] if named else 'labels'} needs a namespace")
        if self.detour_image is not None and named != ["service"]:
            raise ValueError("detourImage is for a service: its traffic is led round")
        if named in (["node"], ["lease"]) and (self.region or self.zone):
            raise ValueError(f"a {named[0]} is named already: drop region and zone")
        return self


def shape(handle: Mapping[str, Any]) -> str:
    """What kind of thing a component is: one of the named kinds, `pods` (by labels) or `nodes`."""
    for name in (*WORKLOADS, "pod", "service", "lease"):
        if handle.get(name):
            return name
    return "pods" if handle.get("labels") else "nodes"


def told(handle: Mapping[str, Any]) -> str:
    """The thing in words, as kubectl names it."""
    what = shape(handle)
    where = f" in {handle['namespace']}" if handle.get("namespace") else ""
    if what == "pods":
        return f"pods {selector_text(handle['labels'])}{where}"
    if what == "nodes":
        if handle.get("node"):
            return f"node/{handle['node']}"
        return "nodes of " + ", ".join(
            f"{name} {handle[name]}" for name in ("region", "zone") if handle.get(name)
        )
    return f"{what}/{handle[what]}{where}"


def selector_text(labels: Mapping[str, str]) -> str:
    """Labels as a selector in a query."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
