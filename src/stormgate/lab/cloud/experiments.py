"""Experiments of the Fault Injection Service that really act: what their actions name is stopped,
cut off or failed over in the lab, for as long as they say, and taken back when they are stopped.

moto keeps templates and experiments; here one that begins resolves its targets, does its actions by
the same calls that anybody may make, and moves by what happens, not by being looked at.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

_DURATION = re.compile(r"^PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?$")
_NEVER = {"progression": "manual", "times": 1 << 60}
_STOP = "aws:ec2:stop-instances"
_CUT = "aws:network:disrupt-connectivity"
_OVER = "aws:rds:failover-db-cluster"
Undo = Callable[[], object]


class CannotDoError(Exception):
    """An action that this lab does not do, or that has nothing to be done to."""


class Experiments:
    """Those that run, by id. `subnets`: the links of each; `cut` and `mend` act on them."""

    def __init__(self, subnets: Mapping[str, list[str]], acts: Any) -> None:
        from moto.moto_api import state_manager

        self._subnets, self._acts = subnets, acts
        self._running: dict[str, tuple[threading.Timer | None, list[Undo]]] = {}
        self._lock = threading.Lock()
        state_manager.set_transition("fis::experiment", _NEVER)

    def starting(self, original: Any) -> Any:
        """Around FISBackend.start_experiment."""

        def start_experiment(backend: Any, *given: Any, **more: Any) -> Any:
            answer = original(backend, *given, **more)
            experiment = backend.experiments[answer["id"]]
            if experiment.status == "pending" and answer["id"] not in self._running:
                threading.Thread(target=self._begin, args=(backend, experiment)).start()
            return answer

        return start_experiment

    def stopping(self, original: Any) -> Any:
        """Around FISBackend.stop_experiment."""

        def stop_experiment(backend: Any, id: str) -> Any:
            answer = original(backend, id)
            experiment = backend.experiments[id]
            if experiment.status == "stopping":
                threading.Thread(target=self._end, args=(experiment, "stopped")).start()
            return answer

        return stop_experiment

    def _begin(self, backend: Any, experiment: Any) -> None:
        undo: list[Undo] = []
        with self._lock:
            self._running[experiment.id] = (None, undo)
        experiment.status = "initiating"
        try:
            self._resolve(backend, experiment)
            lasts = [self._do(backend, experiment, one, undo)
                     for one in experiment.actions.values()]  # fmt: skip
        except Exception as error:  # whatever it was, it is told, and what was begun taken back
            print(f"fis {experiment.id}: {error}", flush=True)
            self._end(experiment, "failed")
            return
        timer = threading.Timer(max(lasts, default=0.0), self._end, (experiment, "completed"))
        timer.daemon = True
        with self._lock:
            goes_on = experiment.id in self._running
            if goes_on:
                experiment.status = "running"
                self._running[experiment.id] = (timer, undo)
                timer.start()
        for one in () if goes_on else reversed(undo):  # it was stopped while it began
            one()

    def _end(self, experiment: Any, status: str) -> None:
        with self._lock:
            timer, undo = self._running.pop(experiment.id, (None, []))
        if timer is not None:
            timer.cancel()
        for one in reversed(undo):
            one()
        if experiment.status not in ("completed", "stopped", "failed"):
            experiment.status = status

    def _resolve(self, backend: Any, experiment: Any) -> None:
        """What targets choose by tags becomes a list of what is there, as AWS resolves it."""
        used = {name for one in experiment.actions.values()
                for name in (one.get("targets") or {}).values()}  # fmt: skip
        for name, target in experiment.targets.items():
            if not target.get("resourceArns") and target.get("resourceTags"):
                target["resourceArns"] = _tagged(backend, target)
            if name in used and not target.get("resourceArns"):
                raise CannotDoError(f"target {name} resolves to nothing")

    def _do(self, backend: Any, experiment: Any, action: Any, undo: list[Undo]) -> float:
        """Do one action; how long it lasts, s."""
        chosen = [
            arn.rpartition("/")[2] if "/" in arn else arn.rpartition(":")[2]
            for name in (action.get("targets") or {}).values()
            for arn in experiment.targets[name]["resourceArns"]
        ]
        parameters = action.get("parameters") or {}
        if action["actionId"] == _STOP:
            ec2 = _backend("ec2", backend)
            ec2.stop_instances(chosen)
            lasts = parameters.get("startInstancesAfterDuration")
            if lasts:
                undo.append(lambda: ec2.start_instances(chosen))
            return _seconds(lasts) if lasts else 0.0
        if action["actionId"] == _CUT:
            links = [link for one in chosen for link in self._subnets.get(one, [])]
            undo.append(lambda: self._acts.mend(links))
            self._acts.cut(links)
            return _seconds(parameters.get("duration"))
        if action["actionId"] == _OVER:
            for one in chosen:
                _backend("rds", backend).failover_db_cluster(one)
            return 0.0
        raise CannotDoError(f"{action['actionId']} is not done here")


def _tagged(backend: Any, target: Mapping[str, Any]) -> list[str]:
    wanted = dict(target["resourceTags"])
    if target.get("resourceType") != "aws:ec2:instance":
        return []
    ec2 = _backend("ec2", backend)
    base = f"arn:aws:ec2:{backend.region_name}:{backend.account_id}:instance/"
    return [
        base + one.id
        for one in ec2.all_instances()
        if wanted.items() <= {tag["key"]: tag["value"] for tag in one.get_tags()}.items()
    ]


def _backend(service: str, like: Any) -> Any:
    from moto.backends import get_backend

    return get_backend(service)[like.account_id][like.region_name]


def _seconds(duration: Any) -> float:
    match = _DURATION.match(str(duration))
    if match is None or not any(match.groups()):
        raise CannotDoError(f"a duration of {duration!r}")
    hours, minutes, seconds = (int(one or 0) for one in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)
