"""Pods that go: `crash` (deleted at once), `stop` (in good order), `evict` (asking the disruption
budgets). Each is named by its uid; a pod that nothing would make anew is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import Field

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes.api import Cluster, KubernetesError
from stormgate.faults.backends.kubernetes.handle import WORKLOADS, shape
from stormgate.faults.backends.kubernetes.pods import (
    controller_of,
    drawn,
    is_going,
    is_ready,
    names,
    noted,
    pods_of,
    reading,
    ready_pods,
    workload_whole,
)
from stormgate.faults.backends.kubernetes.ways import (
    ClusterMode,
    Permission,
    Record,
    Site,
    begun,
    named_object,
)
from stormgate.faults.declared import Parameters, Whole
from stormgate.faults.errors import CannotBreak, NotApplied

_THREADS = 16
_AGAIN_S = 0.5

Noted = Mapping[str, Any]


class KillPods(Parameters):
    """Which of the pods: "all", "one of", "half of", a count, or "25%"."""

    share: str | Whole = "all"


class StopPods(KillPods):
    """`grace_s`: how long each may take to end, s; the pod's own time when it is not given."""

    grace_s: Whole | None = Field(default=None, ge=1, le=3600)


class EvictPods(KillPods):
    """`within_s`: how long a disruption budget that refuses is asked again, s."""

    within_s: float = Field(default=20.0, ge=0, le=600)


class PodCrash(ClusterMode):
    """Delete with no grace: the kubelet kills at once; the API forgets the pod even sooner."""

    parameters: type[Parameters] = KillPods
    grace_s: int | None = 0

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (*reading(handle), Permission("pods", ("delete",)))

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        every = ready_pods(site)
        refuse_orphans(site, every)
        params = request.params
        chosen = drawn(every, params.get("share", "all"))
        owner = str((controller_of(every[0]) or {}).get("uid"))
        if shape(site.handle) == "pod":
            every = [pod for pod in _of_owner(site, owner) if is_ready(pod)]
        return begun(
            request,
            pods=[noted(pod) for pod in chosen],
            owner=owner,
            ready_before=len(every),
            grace_s=params.get("grace_s", self.grace_s),
            within_s=params.get("within_s", 0.0),
        )

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        grace_s = record["grace_s"]
        problems, done = delete_pods(
            site.cluster, record["pods"], None if grace_s is None else int(grace_s)
        )
        if problems:
            raise NotApplied(f"{site.part.name}: {'; '.join(problems[:3])}")
        _refuse_none(site, record, done)

    def in_effect(self, site: Site, record: Record) -> Observation:
        now = pods_of(site)
        killed = {pod["uid"] for pod in record["pods"]}
        there = [
            noted(pod) for pod in now if pod["metadata"]["uid"] in killed and not self._over(pod)
        ]
        ready = sum(map(is_ready, now))
        if there:
            return Observation(False, f"{len(there)} of {len(killed)} still run ({names(there)})")
        return Observation(
            True,
            f"{len(killed)} pods are gone by uid ({names(record['pods'])}); "
            f"{ready} of {record['ready_before']} ready now",
        )

    def is_whole(self, site: Site, record: Record) -> Observation:
        kind = shape(site.handle)
        if kind in WORKLOADS:
            _, found = named_object(site)
            return Observation(*workload_whole(found, kind))
        killed = {pod["uid"] for pod in record["pods"]}
        # Only a StatefulSet gives a name again; others make a pod of another name.
        now = _of_owner(site, record["owner"]) if kind == "pod" else pods_of(site)
        ready = [pod for pod in now if is_ready(pod) and pod["metadata"]["uid"] not in killed]
        wanted = int(record["ready_before"])
        return Observation(len(ready) >= wanted, f"{len(ready)} of {wanted} pods ready")

    def _over(self, pod: Mapping[str, Any]) -> bool:
        return False


class PodStop(PodCrash):
    """Delete with the pod's own grace: it leaves its services first, and is asked to end."""

    parameters: type[Parameters] = StopPods
    grace_s = None

    def _over(self, pod: Mapping[str, Any]) -> bool:
        return is_going(pod)


class PodEviction(PodStop):
    """Ask for eviction: a disruption budget may refuse, and is asked again until a deadline."""

    parameters = EvictPods

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (*reading(handle), Permission("pods/eviction", ("create",)))

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        done = evict_pods(site, record["pods"], float(record["within_s"]), stop)
        _refuse_none(site, record, done)


def delete_pods(
    cluster: Cluster, pods: Sequence[Noted], grace_s: int | None
) -> tuple[list[str], int]:
    """Delete these very pods at once: what went wrong, in words, and how many we deleted. One that
    is gone is gone, by somebody else's doing.
    """

    def delete(pod: Noted) -> str | None:
        try:
            cluster.delete("pods", pod["ns"], pod["name"], uid=pod["uid"], grace_s=grace_s)
        except KubernetesError as error:
            return "" if error.status in (404, 409) else str(error)
        return None

    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        came = list(pool.map(delete, pods))
    return [problem for problem in came if problem], came.count(None)


def evict_pods(site: Site, pods: Sequence[Noted], within_s: float, stop: threading.Event) -> int:
    """Evict these very pods, all of them; one that a budget refuses is asked for again until
    `within_s` have gone. How many we evicted: one that is gone is by somebody else's doing. Raises
    NotApplied naming the budget, KubernetesError.
    """
    end = time.monotonic() + within_s
    waiting = list(pods)
    vanished = 0
    while True:
        refused: list[tuple[Noted, str]] = []
        for pod in waiting:
            try:
                _evict(site.cluster, pod)
            except KubernetesError as error:
                if error.status in (404, 409):
                    vanished += 1  # gone, or another one of its name: this very pod is no more
                    continue
                if error.status != 429:
                    raise
                refused.append((pod, _budget(error)))
        if not refused:
            return len(pods) - vanished
        waiting = [pod for pod, _ in refused]
        if time.monotonic() >= end or stop.wait(_AGAIN_S):
            done = len(pods) - len(refused) - vanished
            raise NotApplied(
                f"{site.part.name}: a disruption budget refuses: {refused[0][0]['name']}: "
                f"{refused[0][1]}; {done} of {len(pods)} pods evicted, asked for {within_s:g} s"
            )


def _refuse_none(site: Site, record: Record, done: int) -> None:
    """Raises NotApplied where all were gone already: that they are gone now proves no fault."""
    if not done:
        raise NotApplied(
            f"{site.part.name}: somebody else ended {names(record['pods'])} just now: nothing was "
            "left to break"
        )


def refuse_orphans(site: Site, pods: Sequence[Mapping[str, Any]]) -> None:
    """Raises CannotBreak for a pod that nothing would make anew."""
    orphans = [noted(pod) for pod in pods if controller_of(pod) is None]
    if orphans:
        raise CannotBreak(
            f"{site.part.name}: {names(orphans)}: no controller owns it, so nothing would make it "
            "anew; select pods of a Deployment, StatefulSet or the like"
        )


def _evict(cluster: Cluster, pod: Noted) -> None:
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod["name"], "namespace": pod["ns"]},
        "deleteOptions": {"preconditions": {"uid": pod["uid"]}},
    }
    path = f"api/v1/namespaces/{pod['ns']}/pods/{pod['name']}/eviction"
    cluster.call("POST", path, body=body)


def _budget(error: KubernetesError) -> str:
    causes = (error.details.get("details") or {}).get("causes") or []
    words = [str(one.get("message")) for one in causes if one.get("message")]
    return "; ".join(words) or str(error)


def _of_owner(site: Site, owner: str) -> list[dict[str, Any]]:
    pods = site.cluster.list("pods", site.namespace)
    return [pod for pod in pods if (controller_of(pod) or {}).get("uid") == owner]
