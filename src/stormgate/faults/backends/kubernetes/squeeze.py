"""`squeeze`: a container gets less CPU in place (pods/resize), as a wrong limit would leave it, and
gets it back. It is proven by what the node says the container has.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import Field

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes.api import Json, KubernetesError
from stormgate.faults.backends.kubernetes.inside.command import in_each
from stormgate.faults.backends.kubernetes.inside.which import container_status, in_container
from stormgate.faults.backends.kubernetes.killing import KillPods
from stormgate.faults.backends.kubernetes.marks import (
    Steps,
    VanishedError,
    change,
    is_marked,
    mark_steps,
    same,
    unmark_steps,
)
from stormgate.faults.backends.kubernetes.pods import drawn, names, reading, ready_pods
from stormgate.faults.backends.kubernetes.standing import standing
from stormgate.faults.backends.kubernetes.ways import (
    ClusterMode,
    Permission,
    Record,
    Site,
    begun,
)
from stormgate.faults.declared import Parameters, Whole
from stormgate.faults.errors import CannotBreak, NotApplied, UndoFailed

Noted = Mapping[str, Any]


class SqueezePods(KillPods):
    """How much CPU each container keeps (`cpu_millicores`), and which pods (`share`)."""

    cpu_millicores: Whole = Field(ge=1, le=1_000_000)


class Squeeze(ClusterMode):
    """The CPU limit, and a request above it, lowered without a restart."""

    parameters: type[Parameters] = SqueezePods

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (
            *reading(handle),
            Permission("pods", ("patch",)),
            Permission("pods/resize", ("patch",)),
        )

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        chosen = drawn(ready_pods(site), request.params.get("share", "all"))
        after = int(request.params["cpu_millicores"])
        return begun(request, pods=[_planned(site, pod, after) for pod in chosen])

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        def one(pod: Noted) -> str:
            def mark(found: dict[str, Any]) -> Steps:
                return mark_steps(found, record)

            def resize(found: dict[str, Any]) -> Steps:
                return _steps(pod, pod["before"], pod["after"])

            try:
                change(site.cluster, pod, mark)
                change(site.cluster, pod, resize, part="resize")
            except (KubernetesError, VanishedError) as error:
                return str(error)
            return ""

        _raise(NotApplied, site, in_each(one, record["pods"]))

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        def one(pod: Noted) -> str:
            def resize(found: dict[str, Any]) -> Steps:
                # Where somebody has set something else meanwhile, that is theirs.
                own = is_marked(found, record) and _has(found, pod) == pod["after"]
                return _steps(pod, pod["after"], pod["before"]) if own else []

            def unmark(found: dict[str, Any]) -> Steps:
                return unmark_steps(found, record) if is_marked(found, record) else []

            try:
                change(site.cluster, pod, resize, part="resize")
                change(site.cluster, pod, unmark)
            except VanishedError:
                return ""  # whoever took its place has what its template says
            except KubernetesError as error:
                return str(error)
            return ""

        _raise(UndoFailed, site, in_each(one, record["pods"]))

    def in_effect(self, site: Site, record: Record) -> Observation:
        for pod in record["pods"]:
            try:
                found = same(site.cluster, pod)
            except VanishedError as error:
                return Observation(False, f"{error}; its successor has what the template says")
            if _has(found, pod) != pod["after"]:
                return Observation(False, f"{pod['name']}: somebody set {_words(_has(found, pod))}")
            given = _given(found, pod)
            if given != millicores(pod["after"]["limits"]):
                return Observation(
                    False,
                    f"{pod['name']}: its node still gives {_m(given)} to {pod['container']}"
                    f"{_pending(found)}",
                )
        first = record["pods"][0]
        return Observation(
            True,
            f"{len(record['pods'])} pods: the node gives {first['container']} "
            f"{first['after']['limits']} CPU, {first['before']['limits']} before "
            f"({names(record['pods'])})",
        )

    def is_whole(self, site: Site, record: Record) -> Observation:
        for pod in record["pods"]:
            try:
                found = same(site.cluster, pod)
            except VanishedError:
                continue
            if is_marked(found, record):
                return Observation(False, f"{pod['name']} still carries the mark of the fault")
            given, wanted = _given(found, pod), millicores(_has(found, pod)["limits"])
            if given != wanted:
                return Observation(
                    False, f"{pod['name']}: its node gives {_m(given)}, not {_m(wanted)}"
                )
        return standing(site)

    def by_hand(self, site: Site, record: Record) -> str:
        pod = record["pods"][0]
        given = {kind: {"cpu": value} for kind, value in pod["before"].items() if value is not None}
        words = str(
            {"spec": {"containers": [{"name": pod["container"], "resources": given}]}}
        ).replace("'", '"')
        more = f" (and {len(record['pods']) - 1} pods more)" if len(record["pods"]) > 1 else ""
        return site.kubectl(f"patch pod {pod['name']} --subresource resize -p '{words}'") + more


def millicores(quantity: Any) -> int | None:
    """A CPU quantity as Kubernetes writes it ("250m", "0.25", "2", "2k"), in thousandths of a core;
    None for none, or for what is no quantity.
    """
    if quantity is None:
        return None
    text, factor = str(quantity).strip(), Decimal(1000)
    suffixes = {"n": "1e-6", "u": "1e-3", "m": "1", "k": "1e6"}
    if text and text[-1] in suffixes:
        factor, text = Decimal(suffixes[text[-1]]), text[:-1]
    try:
        return int((Decimal(text) * factor).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _planned(site: Site, pod: Json, after_m: int) -> dict[str, Any]:
    about = {"resource": "pods", **in_container(site, pod)}
    index = [one["name"] for one in pod["spec"]["containers"]].index(about["container"])
    about["index"] = index
    container, before = pod["spec"]["containers"][index], _has(pod, about)
    limit, request = millicores(before["limits"]), millicores(before["requests"])
    who = f"{site.part.name}: {about['name']}: container {about['container']}"
    if limit is None:
        raise CannotBreak(
            f"{who} has no CPU limit, and one that is added in place cannot be taken away again; "
            "give it one"
        )
    if after_m >= limit:
        raise CannotBreak(f"{who} has {before['limits']} CPU: {after_m}m is no less")
    if any(
        one.get("resourceName") == "cpu" and one.get("restartPolicy") == "RestartContainer"
        for one in container.get("resizePolicy") or []
    ):
        raise CannotBreak(f"{who} would be restarted by it (its resizePolicy says so)")
    after = {"limits": f"{after_m}m", "requests": before["requests"]}
    if request is not None and request > after_m:
        after["requests"] = after["limits"]
    return {**about, "before": before, "after": after}


def _has(pod: Json, about: Noted) -> dict[str, Any]:
    """The CPU that the pod says its container may have."""
    given = pod["spec"]["containers"][about["index"]].get("resources") or {}
    return {kind: (given.get(kind) or {}).get("cpu") for kind in ("limits", "requests")}


def _given(pod: Json, about: Noted) -> int | None:
    """The CPU limit that the node says the container has."""
    status = container_status(pod, str(about["container"]))
    return millicores(((status.get("resources") or {}).get("limits") or {}).get("cpu"))


def _steps(about: Noted, was: Noted, wanted: Noted) -> Steps:
    base = f"/spec/containers/{about['index']}/resources"
    steps: Steps = []
    for kind in ("limits", "requests"):
        if was[kind] != wanted[kind]:
            path = f"{base}/{kind}/cpu"
            steps.append({"op": "test", "path": path, "value": was[kind]})
            steps.append({"op": "replace", "path": path, "value": wanted[kind]})
    return steps


def _pending(pod: Json) -> str:
    for one in (pod.get("status") or {}).get("conditions") or []:
        if str(one.get("type")).startswith("PodResize"):
            return f" ({one['type']}: {one.get('reason') or ''} {one.get('message') or ''})".strip()
    return ""


def _words(has: Noted) -> str:
    return f"limit {has['limits']}, request {has['requests']}"


def _m(value: int | None) -> str:
    return "no limit that it tells" if value is None else f"{value}m"


def _raise(kind: type[Exception], site: Site, results: list[str]) -> None:
    problems = [one for one in results if one]
    if problems:
        raise kind(f"{site.part.name}: {'; '.join(problems[:3])}")
