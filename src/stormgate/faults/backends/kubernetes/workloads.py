"""Workloads changed in one field that is put back: `scale_down` (fewer replicas) and `bad_rollout`
(a release whose image does not exist).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes import autoscaler
from stormgate.faults.backends.kubernetes.api import FIELD_MANAGER, Json
from stormgate.faults.backends.kubernetes.handle import shape, told
from stormgate.faults.backends.kubernetes.killing import delete_pods
from stormgate.faults.backends.kubernetes.marks import (
    Steps,
    VanishedError,
    change,
    is_marked,
    mark_steps,
    put_back,
    same,
    unmark_steps,
)
from stormgate.faults.backends.kubernetes.pods import is_ready, noted, pods_of, workload_whole
from stormgate.faults.backends.kubernetes.ways import (
    ClusterMode,
    Permission,
    Record,
    Site,
    begun,
    named_object,
    where,
)
from stormgate.faults.declared import Parameters, Whole
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed

_REPLICAS = "/spec/replicas"
_BROKEN_IMAGE = "stormgate.invalid/no-such-image:"


class ScaleDownTo(Parameters):
    """How many `replicas` are left."""

    replicas: Whole = Field(default=0, ge=0, le=10_000)


class FieldOfWorkload(ClusterMode):
    """A field of a Deployment, StatefulSet or DaemonSet, changed and put back with its mark."""

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (
            Permission("pods", ("get", "list")),
            Permission(f"{shape(handle)}s", ("get", "patch")),
        )

    def broken(self, found: Json, record: Record) -> bool:
        """Whether the field is as the fault made it."""
        raise NotImplementedError

    def signed(self, found: Json, record: Record) -> bool:
        """Whether the broken field is known to be the fault's, whoever took the mark away."""
        raise NotImplementedError

    def break_steps(self, found: Json, record: Record) -> Steps:
        """The steps that break it, and hold it to what it was planned on."""
        raise NotImplementedError

    def mend_steps(self, found: Json, record: Record) -> Steps:
        """The steps that put it back."""
        raise NotImplementedError

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        def steps(found: dict[str, Any]) -> Steps:
            return [*self.break_steps(found, record), *mark_steps(found, record)]

        change(site.cluster, record["object"], steps)

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        def steps(found: dict[str, Any]) -> Steps:
            # Where somebody has set something else meanwhile, that is theirs.
            own = is_marked(found, record)
            ours = self.broken(found, record) and (own or self.signed(found, record))
            mend = self.mend_steps(found, record) if ours else []
            return [*mend, *(unmark_steps(found, record) if own else [])]

        put_back(site.cluster, record["object"], steps)

    def is_whole(self, site: Site, record: Record) -> Observation:
        kind = shape(site.handle)
        try:
            found = same(site.cluster, record["object"])
        except VanishedError as error:
            if not error.replaced:
                return Observation(False, str(error))
            _, found = named_object(site)
        else:
            if self.broken(found, record) and self.signed(found, record):
                return Observation(False, f"{told(site.handle)} is still as the fault left it")
        if is_marked(found, record):
            return Observation(False, f"{told(site.handle)} still carries the mark of the fault")
        return Observation(*workload_whole(found, kind))


class ScaleDown(FieldOfWorkload):
    """Fewer replicas: the controller itself ends the pods, in good order."""

    parameters = ScaleDownTo

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (*super().permissions(handle), Permission("horizontalpodautoscalers", ("list",)))

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        resource, found = named_object(site)
        _refuse_part(site)
        whole, saw = workload_whole(found, shape(site.handle))
        before, after = int(found["spec"].get("replicas", 1)), int(request.params["replicas"])
        if not whole:
            raise NotWhole(f"{site.part.name}: before the fault: {saw}")
        if before <= after:
            raise CannotBreak(
                f"{site.part.name}: {told(site.handle)} has {before} replicas: {after} are no fewer"
            )
        scaler = autoscaler.told(site, found, after)
        return begun(
            request, object=where(resource, found), before=before, after=after, scaler=scaler
        )

    def broken(self, found: Json, record: Record) -> bool:
        return bool(found["spec"].get("replicas", 1) == record["after"])

    def signed(self, found: Json, record: Record) -> bool:
        return _last_manager(found, "f:replicas") == repr(FIELD_MANAGER)

    def break_steps(self, found: Json, record: Record) -> Steps:
        if found["spec"].get("replicas", 1) != record["before"]:
            raise NotApplied(
                f"somebody set it to {found['spec'].get('replicas')} replicas just now"
            )
        return [{"op": "replace", "path": _REPLICAS, "value": record["after"]}]

    def mend_steps(self, found: Json, record: Record) -> Steps:
        return [{"op": "replace", "path": _REPLICAS, "value": record["before"]}]

    def in_effect(self, site: Site, record: Record) -> Observation:
        found = same(site.cluster, record["object"])
        if not self.broken(found, record):
            return Observation(
                False,
                f"replicas are {found['spec'].get('replicas')}, not {record['after']}: "
                f"set by {_last_manager(found, 'f:replicas')}",
            )
        ready = sum(map(is_ready, pods_of(site)))
        status = int((found.get("status") or {}).get("readyReplicas", 0))
        return Observation(
            ready <= record["after"] and status <= record["after"],
            f"replicas {record['before']} -> {record['after']} (uid {record['object']['uid']}, "
            f"resourceVersion {found['metadata']['resourceVersion']}); {ready} pods ready"
            f"{record.get('scaler') or ''}",
        )

    def by_hand(self, site: Site, record: Record) -> str:
        where_is = record["object"]
        return site.kubectl(
            f"scale {where_is['resource']}/{where_is['name']} --replicas={record['before']}"
        )


class BadRollout(FieldOfWorkload):
    """A release that cannot start: the first container's image does not exist. What is served on is
    up to the workload's own rollout strategy.
    """

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        more = (Permission("pods", ("delete",)),) if shape(handle) == "statefulset" else ()
        return (*super().permissions(handle), *more)

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        resource, found = named_object(site)
        _refuse_part(site)
        whole, saw = workload_whole(found, shape(site.handle))
        if not whole:
            raise NotWhole(f"{site.part.name}: before the fault: {saw}")
        container = found["spec"]["template"]["spec"]["containers"][0]
        return begun(
            request,
            object=where(resource, found),
            container=container["name"],
            before=container["image"],
            after=_BROKEN_IMAGE + request.token,
        )

    def broken(self, found: Json, record: Record) -> bool:
        return bool(self._image(found) == record["after"])

    def signed(self, found: Json, record: Record) -> bool:
        return True  # the image names the fault

    def break_steps(self, found: Json, record: Record) -> Steps:
        if self._image(found) != record["before"]:
            raise NotApplied(f"somebody rolled out {self._image(found)} just now")
        return [{"op": "replace", "path": self._path, "value": record["after"]}]

    def mend_steps(self, found: Json, record: Record) -> Steps:
        return [{"op": "replace", "path": self._path, "value": record["before"]}]

    def in_effect(self, site: Site, record: Record) -> Observation:
        found = same(site.cluster, record["object"])
        if not self.broken(found, record):
            return Observation(False, f"the image is {self._image(found)} again")
        stuck = [pod for pod in pods_of(site) if self._wants(pod, record) and not is_ready(pod)]
        good = [pod for pod in pods_of(site) if self._wants(pod, record) and is_ready(pod)]
        if good:
            return Observation(False, f"{len(good)} pods run the image that does not exist")
        return Observation(bool(stuck), f"{len(stuck)} pods of the new release are not ready")

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        super().undo(site, record, timeout_s)
        if record["object"]["resource"] != "statefulsets":
            return
        # Its controller waits for a pod that is not ready, also for one that never can be: the
        # prior release comes only once that pod is gone ("forced rollback" in its manual).
        stuck = [
            noted(pod) for pod in pods_of(site) if self._wants(pod, record) and not is_ready(pod)
        ]
        problems, _ = delete_pods(site.cluster, stuck, None)
        if problems:
            raise UndoFailed(f"{site.part.name}: {'; '.join(problems[:3])}")

    def is_whole(self, site: Site, record: Record) -> Observation:
        left = [pod for pod in pods_of(site) if self._wants(pod, record)]
        if left:
            return Observation(False, f"{len(left)} pods of the bad release are still there")
        return super().is_whole(site, record)

    def by_hand(self, site: Site, record: Record) -> str:
        where_is = record["object"]
        what = f"{where_is['resource']}/{where_is['name']}"
        command = site.kubectl(f"rollout undo {what}")
        if record.get("container"):
            command = site.kubectl(f"set image {what} {record['container']}={record['before']}")
        if where_is["resource"] == "statefulsets":
            command += f"; then delete its pods that wait for image {record['after']}"
        return command

    _path = "/spec/template/spec/containers/0/image"

    def _image(self, found: Json) -> str:
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    def _wants(self, pod: Json, record: Record) -> bool:
        return any(one["image"] == record["after"] for one in pod["spec"]["containers"])


def _refuse_part(site: Site) -> None:
    """Raises CannotBreak for a component that is only a workload's pods in one place."""
    if site.handle.get("region") or site.handle.get("zone"):
        raise CannotBreak(
            f"{site.part.name}: this changes the whole workload, and the component is only its "
            "pods of one place: crash, stop or evict those, or break its nodes"
        )


def _last_manager(found: Json, key: str) -> str:
    """Who last wrote a field of `spec`, by the object's own record."""
    entries = [
        entry
        for entry in found["metadata"].get("managedFields") or []
        if key in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    latest = max(entries, key=lambda entry: str(entry.get("time")), default=None)
    return repr(latest["manager"]) if latest else "somebody"
