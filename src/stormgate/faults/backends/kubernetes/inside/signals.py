"""Processes in containers that get a signal: `freeze` (stopped) and `crash_container` (killed; the
kubelet starts the container anew). PID 1 ignores both from inside, so a container that is one
process alone is refused: an init, or processes shared in the pod, make it possible.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes.api import Json, KubernetesError
from stormgate.faults.backends.kubernetes.inside import processes
from stormgate.faults.backends.kubernetes.inside.command import Ran, in_each, run
from stormgate.faults.backends.kubernetes.inside.which import container_status, in_container
from stormgate.faults.backends.kubernetes.killing import KillPods
from stormgate.faults.backends.kubernetes.marks import (
    Steps,
    VanishedError,
    change,
    is_marked,
    mark_steps,
    unmark_steps,
)
from stormgate.faults.backends.kubernetes.pods import drawn, reading, ready_pods
from stormgate.faults.backends.kubernetes.standing import standing
from stormgate.faults.backends.kubernetes.ways import (
    ClusterMode,
    Permission,
    Record,
    Site,
    begun,
)
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed
from stormgate.faults.proof import silence_s
from stormgate.net.look import State, look

_KILLED = 137  # 128 + SIGKILL: the command went down with its container
_BEFORE_S = 3.0

Noted = Mapping[str, Any]


class SignalProcesses(KillPods):
    """Which pods (`share`), and in their container the processes of this name (`process`); without
    it all but PID 1.
    """

    process: str | None = Field(default=None, min_length=1)


class _Signal(ClusterMode):
    """What both have: processes found before the ledger is written, each named by when it began."""

    parameters: type[Parameters] = SignalProcesses
    signal = ""

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        # A websocket begins as a GET; newer API servers ask for the verb of what it does, too.
        return (*reading(handle), Permission("pods/exec", ("get", "create")))

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        every = ready_pods(site)
        name = request.params.get("process")
        name = None if name is None else processes.short(str(name))
        chosen = [
            in_container(site, pod) for pod in drawn(every, request.params.get("share", "all"))
        ]
        found = in_each(lambda pod: {**pod, "found": self._found(site, pod, name)}, chosen)
        return begun(request, pods=found, all=len(found) == len(every), before_ms=_before_ms(site))

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        def one(pod: Noted) -> str:
            return self.noted_on(site, pod, record) or self._send(site, pod)

        problems = [one for one in in_each(one, record["pods"]) if one]
        if problems:
            raise NotApplied(f"{site.part.name}: {'; '.join(problems[:3])}")

    def noted_on(self, site: Site, pod: Noted, record: Record) -> str:
        """Write the undo record on a pod, where there is one; what went wrong, in words."""
        return ""

    def is_whole(self, site: Site, record: Record) -> Observation:
        return standing(site)

    def forgiven(self, ran: Ran) -> bool:
        """Whether an end that is no success is what the fault itself brings about."""
        return False

    def _found(self, site: Site, pod: Noted, name: str | None) -> list[dict[str, Any]]:
        chosen = processes.reachable(every := _processes(site, pod), name)
        if chosen:
            return [one.noted() for one in chosen]
        first = next((one.name for one in every if one.pid == 1), "?")
        what = f"no process {name!r}" if name else "no process"
        raise CannotBreak(
            f"{site.part.name}: {pod['name']}: container {pod['container']} has {what} but PID 1 "
            f"({first}), which the kernel keeps KILL and STOP from; run it below an init (tini, "
            "dumb-init) or with shareProcessNamespace; nearest: crash of the pod, or isolate"
        )

    def _send(self, site: Site, pod: Noted) -> str:
        lines = processes.signal_lines(self.signal, pod["found"])
        try:
            ran = run(site.cluster, pod, ["sh", "-c", lines])
        except KubernetesError as error:
            return str(error)
        sent = processes.sent(ran.out)
        if ran.code != 0 and not self.forgiven(ran):
            return f"{pod['name']}: kill -{self.signal} {ran}"
        if not sent and not self.forgiven(ran):
            return f"{pod['name']}: kill -{self.signal} reached none of {len(pod['found'])}"
        return ""


class Freeze(_Signal):
    """SIGSTOP: connections stay open, and nobody answers. A liveness probe ends it."""

    signal = "STOP"

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        record = super().plan(site, request)
        record["observed"] = bool(site.part.observe is not None and record["all"])
        return record

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (*super().permissions(handle), Permission("pods", ("patch",)))

    def noted_on(self, site: Site, pod: Noted, record: Record) -> str:
        try:
            change(site.cluster, _where(pod), lambda found: mark_steps(found, record))
        except (KubernetesError, VanishedError) as error:
            return str(error)
        return ""

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        now = _by_uid(site, record)

        def unmark(found: dict[str, Any]) -> Steps:
            return unmark_steps(found, record) if is_marked(found, record) else []

        def wake(pod: Noted) -> str:
            there = now.get(pod["uid"])
            if there is None:
                return ""  # what was stopped is no more
            try:
                if _container(there, pod).get("containerID") == pod["container_id"]:
                    lines = processes.signal_lines("CONT", pod["found"])
                    ran = run(site.cluster, pod, ["sh", "-c", lines], most_s=timeout_s)
                    if ran.code != 0:
                        return f"{pod['name']}: kill -CONT {ran}"
                change(site.cluster, _where(pod), unmark)
            except VanishedError:
                return ""
            except KubernetesError as error:
                return str(error)
            return ""

        problems = [one for one in in_each(wake, record["pods"]) if one]
        if problems:
            raise UndoFailed(f"{site.part.name}: {'; '.join(problems[:3])}")

    def in_effect(self, site: Site, record: Record) -> Observation:
        now = _by_uid(site, record)

        def awake(pod: Noted) -> str:
            there = now.get(pod["uid"])
            if there is None:
                return f"{pod['name']} is gone"
            container = _container(there, pod)
            if container.get("containerID") != pod["container_id"]:
                again = container.get("restartCount")
                return f"{pod['name']}: its container is another one now (restarts: {again})"
            stopped = {(one.pid, one.began) for one in _processes(site, pod) if one.stopped}
            run_on = [one for one in pod["found"] if (one["pid"], one["began"]) not in stopped]
            return f"{pod['name']}: {processes.told(run_on)} run" if run_on else ""

        problems = [one for one in in_each(awake, record["pods"]) if one]
        if problems:
            return Observation(False, "; ".join(problems[:3]))
        count = sum(len(pod["found"]) for pod in record["pods"])
        saw = (
            f"{count} processes in {len(record['pods'])} pods are stopped "
            f"({processes.told(record['pods'][0]['found'])} in {record['pods'][0]['name']})"
        )
        if not record["observed"] or site.part.observe is None:
            return Observation(True, saw)
        seen = look(site.part.observe, silence_s(float(record["before_ms"])))
        # A probe may have taken them out of their service already: nobody listens there then.
        quiet = seen.state in {State.SILENT, State.REFUSED, State.RESET} or not seen.healthy
        return Observation(quiet, f"{saw}; {site.part.observe.address} {seen}")

    def is_whole(self, site: Site, record: Record) -> Observation:
        now = _by_uid(site, record)
        for pod in record["pods"]:
            there = now.get(pod["uid"])
            if there is not None and is_marked(there, record):
                return Observation(False, f"{pod['name']} still carries the mark of the fault")
            if there is None or _container(there, pod).get("containerID") != pod["container_id"]:
                continue
            own = {(one["pid"], one["began"]) for one in pod["found"]}
            left = [one for one in _processes(site, pod) if one.stopped]
            left = [one for one in left if (one.pid, one.began) in own]
            if left:
                return Observation(False, f"{pod['name']}: {left[0].name} is still stopped")
        return standing(site)

    def by_hand(self, site: Site, record: Record) -> str:
        pod = record["pods"][0]
        pids = " ".join(str(one["pid"]) for one in pod["found"])
        return site.kubectl(
            f"exec {pod['name']} -c {pod['container']} -- sh -c 'kill -CONT {pids}'"
        ) + (f" (and {len(record['pods']) - 1} pods more)" if len(record["pods"]) > 1 else "")


class CrashContainer(_Signal):
    """SIGKILL: the container ends in place and the kubelet starts it anew; the pod stays. Where
    what ran beneath PID 1 is started anew by PID 1 itself, no container has crashed: unproven.
    """

    signal = "KILL"

    def forgiven(self, ran: Ran) -> bool:
        return ran.code in (None, _KILLED)

    def in_effect(self, site: Site, record: Record) -> Observation:
        now = _by_uid(site, record)
        seen: list[str] = []
        for pod in record["pods"]:
            there = now.get(pod["uid"])
            if there is None:
                return Observation(False, f"{pod['name']} is gone: not its container alone")
            container = _container(there, pod)
            again = int(container.get("restartCount", 0))
            if again <= int(pod["restarts"]) and not _over(container):
                without = processes.told(pod["found"])
                return Observation(
                    False,
                    f"{pod['name']}: container {pod['container']} has not ended (restarts: {again},"
                    f" {pod['container_id']}): PID 1 goes on without {without}",
                )
            seen.append(f"{pod['name']} restarts {pod['restarts']} -> {again}{_how(container)}")
        return Observation(
            True, f"container {record['pods'][0]['container']}: {'; '.join(seen[:3])}"
        )


def _container(pod: Json, noted_pod: Noted) -> Json:
    return container_status(pod, str(noted_pod["container"]))


def _over(container: Json) -> bool:
    return "terminated" in (container.get("state") or {})


def _how(container: Json) -> str:
    for kind in ("lastState", "state"):
        ended = (container.get(kind) or {}).get("terminated")
        if ended:
            return f" (exit code {ended.get('exitCode')}, {ended.get('reason') or 'no reason'})"
    return ""


def _where(pod: Noted) -> Noted:
    return {**pod, "resource": "pods"}


def _by_uid(site: Site, record: Record) -> dict[str, Json]:
    """The pods of a record that are there still, whatever of its component is. Raises
    KubernetesError.
    """

    def find(pod: Noted) -> Json | None:
        return site.cluster.find("pods", pod["ns"], str(pod["name"]))

    there = [one for one in in_each(find, record["pods"]) if one is not None]
    return {str(one["metadata"]["uid"]): one for one in there}


def _processes(site: Site, pod: Noted) -> tuple[processes.InContainer, ...]:
    """Raises CannotBreak where nothing can be listed, KubernetesError."""
    ran = run(site.cluster, pod, ["sh", "-c", processes.LIST])
    try:
        if ran.code == 0:
            return processes.parsed(ran.out)
        why = str(ran)
    except ValueError as error:
        why = str(error)
    raise CannotBreak(
        f"{site.part.name}: {pod['name']}: no processes can be listed in container "
        f"{pod['container']} (it wants a sh): {why}; nearest: crash of the pod"
    )


def _before_ms(site: Site) -> float:
    """How soon it answers, ms; 0 where nothing is looked at from outside."""
    if site.part.observe is None:
        return 0.0
    before = look(site.part.observe, _BEFORE_S)
    if not before.healthy:
        raise NotWhole(
            f"{site.part.name}: before the fault {site.part.observe.address} was {before}"
        )
    return before.latency_ms
