"""Break what Kubernetes runs, through its API server alone: pods, workloads, services, leases and
nodes, with no agent and no privileged pod.

Everything that is changed is held to the very object (uid) and version that was planned on, carries
the whole undo record in an annotation beside the ledger's, and is looked at through the API until
it is undone. `handle` is in handle.py; each mode is in the file of its family.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from stormgate.faults.backends import Backend, FaultRequest, Observation, Record
from stormgate.faults.backends.kubernetes import lock, roles
from stormgate.faults.backends.kubernetes.api import LOOK_S, KubernetesError, within
from stormgate.faults.backends.kubernetes.detour.mode import Detour
from stormgate.faults.backends.kubernetes.handle import KubernetesHandle, shape, told
from stormgate.faults.backends.kubernetes.inside.signals import CrashContainer, Freeze
from stormgate.faults.backends.kubernetes.killing import PodCrash, PodEviction, PodStop
from stormgate.faults.backends.kubernetes.kubeconfig import access
from stormgate.faults.backends.kubernetes.leader import LeaderLoss
from stormgate.faults.backends.kubernetes.leftovers import left_in, needed_to_look
from stormgate.faults.backends.kubernetes.marks import VanishedError
from stormgate.faults.backends.kubernetes.nodes import Cordon, Drain, NodesCrash, ZoneLoss
from stormgate.faults.backends.kubernetes.pods import is_ready, nodes_of, pods_of
from stormgate.faults.backends.kubernetes.squeeze import Squeeze
from stormgate.faults.backends.kubernetes.standing import standing
from stormgate.faults.backends.kubernetes.traffic.detach import Detach
from stormgate.faults.backends.kubernetes.traffic.isolate import Isolate
from stormgate.faults.backends.kubernetes.ways import ClusterMode, Site, named_object
from stormgate.faults.backends.kubernetes.workloads import BadRollout, ScaleDown
from stormgate.faults.declared import CheckRow, Parameters
from stormgate.faults.errors import CannotBreak, ChaosError, NotApplied, UndoFailed
from stormgate.model import Component, Target

_PODS: dict[str, ClusterMode] = {
    "crash": PodCrash(),
    "stop": PodStop(),
    "evict": PodEviction(),
    "freeze": Freeze(),
    "crash_container": CrashContainer(),
    "squeeze": Squeeze(),
}
_WORKLOAD: dict[str, ClusterMode] = {**_PODS, "isolate": Isolate(), "bad_rollout": BadRollout()}
_NODES: dict[str, ClusterMode] = {
    "crash": NodesCrash(),
    "zone_loss": ZoneLoss(),
    "drain": Drain(),
    "cordon": Cordon(),
}
MODES: dict[str, dict[str, ClusterMode]] = {
    "deployment": {**_WORKLOAD, "scale_down": ScaleDown()},
    "statefulset": {**_WORKLOAD, "scale_down": ScaleDown()},
    "daemonset": _WORKLOAD,
    "pod": _PODS,
    "pods": {**_PODS, "isolate": _WORKLOAD["isolate"]},
    "service": {**_PODS, "isolate": _WORKLOAD["isolate"], "detach": Detach()},
    "lease": {"leader_loss": LeaderLoss()},
    "nodes": _NODES,
}
# Of a Service that says which image may be run for it: it is what else a link in front would do.
DETOURS: dict[str, ClusterMode] = {
    mode: Detour(mode) for mode in ("slow", "lossy", "refuse", "blackhole", "bandwidth")
}
_NETWORK = "a packet can only be touched on its node or on its way, and no agent of ours is there"

_NEAREST = "nearest: a service with a detourImage, a toxiproxy link in front of it"


class KubernetesBackend(Backend):
    """See the module."""

    handle = KubernetesHandle
    modes: ClassVar[Mapping[str, type[Parameters]]] = {
        mode: way.parameters for ways in (*MODES.values(), DETOURS) for mode, way in ways.items()
    }
    undo_stage = 1
    refuses: ClassVar[Mapping[str, str]] = {
        "freeze": "only what runs in pods is stopped, by a signal; nearest: crash",
        "crash_container": "only containers of pods crash; nearest: crash",
        "squeeze": "only containers of pods have a CPU limit; nearest: squeeze of what runs there",
        "lossy": f"{_NETWORK}; {_NEAREST}",
        "slow": f"{_NETWORK}; {_NEAREST}",
        "bandwidth": f"{_NETWORK}; {_NEAREST}",
        "blackhole": f"{_NETWORK}; {_NEAREST}, or isolate (a NetworkPolicy)",
        "refuse": f"{_NETWORK}; {_NEAREST}, or detach (a Service without endpoints)",
        "power": "the API has no switch for it; nearest: crash of the nodes (aws: ec2 stop)",
        "clock": "pods share their node's clock; nearest: none without an agent on the node",
    }

    def modes_of(self, handle: Mapping[str, Any]) -> Mapping[str, type[Parameters]]:
        return {mode: way.parameters for mode, way in _offered(handle).items()}

    def hosts(self, handle: Mapping[str, Any]) -> tuple[str, ...]:
        return (access(handle).host,)

    def called(self, part: Component, record: Record) -> Collection[str]:
        handle = part.handle
        places = (handle.get("region"), handle.get("zone")) if shape(handle) == "nodes" else ()
        # The `pods` of a policy are what it selects them by; it has noted them as `named`.
        noted = record.get("named") or record.get("pods") or []
        things = [*noted, *(record.get("nodes") or [])]
        named = [one.get("name") for one in things if isinstance(one, Mapping)]
        return {str(one) for one in (*places, *named) if one}

    def stands(self, part: Component) -> Observation | None:
        site = Site.of(part)
        with _as(CannotBreak, site), within(LOOK_S):
            return standing(site)

    def check(self, part: Component, modes: Collection[str], target: Target) -> Sequence[CheckRow]:
        site, kind = Site.of(part), shape(part.handle)
        try:
            if kind == "nodes":
                nodes_of(site)
            elif kind not in ("pods", "pod"):
                named_object(site)
            row = _pods_row(site)
        except (KubernetesError, ChaosError) as error:
            return [CheckRow("kubernetes", False, str(error), "correct its handle, or the access")]
        return [row, *roles.review(site.cluster, self._needed(part, modes))]

    def permissions(self, wanted: Sequence[tuple[Component, Collection[str]]]) -> str:
        needs = [self._needed(part, modes) for part, modes in wanted]
        return roles.documents(roles.merged(needs))

    def permissions_to_look(self, target: Target) -> str:
        return roles.documents(needed_to_look(target), roles.NAME_TO_LOOK)

    def left(self, target: Target) -> Iterator[tuple[Component, Record, str | None]]:
        return left_in(target)

    def _needed(self, part: Component, modes: Collection[str]) -> roles.Rules:
        ways = _offered(part.handle)
        return roles.needed(part.handle, [ways[mode] for mode in modes if mode in ways])

    def plan(self, request: FaultRequest) -> Record:
        site = Site.of(request.part)
        with _as(CannotBreak, site):
            record = _way(site, request.mode).plan(site, request)
            lock.hold(site, request.token)
        return record

    def apply(self, part: Component, record: Record, stop: threading.Event) -> None:
        site = Site.of(part)
        with _as(NotApplied, site):
            _way(site, str(record["mode"])).apply(site, record, stop)

    def undo(self, part: Component, record: Record, timeout_s: float) -> None:
        site = Site.of(part)
        way = _way(site, str(record["mode"]))
        by_hand = f"; by hand: {way.by_hand(site, record)}"
        with _as(UndoFailed, site, by_hand), within(timeout_s):
            try:
                way.undo(site, record, timeout_s)
            except ChaosError as error:
                raise UndoFailed(f"{error}{by_hand}") from None

    def in_effect(self, part: Component, record: Record) -> Observation:
        site = Site.of(part)
        if other := lock.lost_to(site, str(record["token"])):
            return Observation(False, f"its namespace was taken over by {other}")
        try:
            with within(LOOK_S):
                return _way(site, str(record["mode"])).in_effect(site, record)
        except (KubernetesError, VanishedError, ChaosError) as error:
            return Observation(False, str(error))

    def is_whole(self, part: Component, record: Record) -> Observation:
        site = Site.of(part)
        way = _way(site, str(record["mode"]))
        try:
            with within(LOOK_S):
                seen = way.is_whole(site, record)
        except (KubernetesError, VanishedError, ChaosError) as error:
            seen = Observation(False, str(error))
        if seen.seen:
            lock.let_go(site, str(record["token"]))
            return seen
        return Observation(False, f"{seen.saw}; by hand: {way.by_hand(site, record)}")


def _pods_row(site: Site) -> CheckRow:
    """Whether there are pods to break. A user who may not list them need not, for some modes."""
    what = told(site.handle)
    if shape(site.handle) == "lease":
        return CheckRow("kubernetes", True, what)
    try:
        pods = pods_of(site)
    except KubernetesError as error:
        if error.status != 403:
            raise
        return CheckRow("kubernetes", True, f"{what} (its pods may not be listed)")
    saw = f"{what}: {sum(map(is_ready, pods))} of {len(pods)} pods ready"
    return CheckRow("kubernetes", bool(pods), saw, "select something that runs")


@contextlib.contextmanager
def _as(kind: type[ChaosError], site: Site, more: str = "") -> Iterator[None]:
    """What the API says as the error that the engine knows."""
    try:
        yield
    except (KubernetesError, VanishedError) as error:
        raise kind(f"{site.part.name}: {error}{more}") from None


def _offered(handle: Mapping[str, Any]) -> dict[str, ClusterMode]:
    found = MODES[shape(handle)]
    return {**found, **DETOURS} if handle.get("detour_image") else found


def _way(site: Site, mode: str) -> ClusterMode:
    # What stands is taken back whatever today's target document offers.
    ways = {**MODES[shape(site.handle)], **DETOURS}
    if mode not in ways:
        raise CannotBreak(f"{site.part.name}: a {shape(site.handle)} cannot {mode}")
    return ways[mode]


BACKEND = KubernetesBackend()
