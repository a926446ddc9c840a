"""A plan, as it was resolved, written as a gate document again: pure. Nothing of another file is
needed but the target, the Locust file and the experiments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stormgate.documents.objectives import written_keys
from stormgate.judge.registry import kinds
from stormgate.model import Guard, Load, Objective, Plan, Validity

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

# Filled in when a run begins, from earlier runs: no document says it.
_NOT_WRITTEN = frozenset({"baseline"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a written gate refers to: paths as its own folder sees them. `experiments`: the file of
    each fault by name, and how long users are watched after it (s), in order. `overlaps`: which
    fault one overlaps, and how long after the injection of that (s).
    """

    name: str
    target: str
    locustfile: str
    experiments: Mapping[str, tuple[str, float]]
    overlaps: Mapping[str, tuple[str, float]] = dataclasses.field(default_factory=dict)


def gate_document(
    plan: Plan, parts: Parts, objectives: Sequence[Objective] | None = None
) -> dict[str, Any]:
    """The gate: load, seed, phases, objectives and validity of the plan, over other parts.

    Waivers are left out: what fails and may ship fails all the same. So is `stop`: a run that is
    compared is run whole.
    """
    chosen = plan.objectives if objectives is None else objectives
    spec: dict[str, Any] = {
        "target": parts.target,
        "load": _load(plan.load, parts.locustfile),
        "seed": plan.seed,
        "confidence": plan.confidence,
        "phases": {
            "warmup": seconds(plan.warmup_s),
            "steady": seconds(plan.steady_s),
            "final": seconds(plan.final_s),
        },
    }
    if parts.experiments:
        spec["faults"] = [
            {
                "name": name,
                "experiment": file,
                "recovery": seconds(recovery_s),
                **_beside(name, parts),
            }
            for name, (file, recovery_s) in parts.experiments.items()
        ]
    spec["objectives"] = [objective_document(one) for one in chosen]
    if (validity := _validity(plan.validity)) is not None:
        spec["validity"] = validity
    spec["abort"] = _abort(plan.guard)
    if plan.retry_inconclusive:
        spec["policy"] = {"retryInconclusive": plan.retry_inconclusive}
    return {
        "apiVersion": "stormgate.dev/v1",
        "kind": "ReleaseGate",
        "metadata": {"name": parts.name},
        "spec": spec,
    }


def _beside(name: str, parts: Parts) -> dict[str, Any]:
    other, after_s = parts.overlaps.get(name, (None, 0.0))
    if other not in parts.experiments:
        return {}
    return {"overlaps": other, "after": seconds(after_s)}


def objective_document(objective: Objective) -> dict[str, Any]:
    """An objective as a gate writes it, whole: what came from an SLO stands in it. Raises KeyError
    for a kind that this version does not have.
    """
    model = kinds()[objective.kind].spec_model
    fields = {field: key for key, field in written_keys(model).items()}
    written: dict[str, Any] = {"name": objective.name, "kind": objective.kind}
    usual = {name: one.get_default(call_default_factory=True) for name, one in _declared(model)}
    for field, value in objective.spec.items():
        if field in _NOT_WRITTEN or field not in fields or _same(value, usual.get(field)):
            continue
        written[fields[field]] = _value(field, value)
    return written


def _declared(model: type[BaseModel]) -> Iterable[tuple[str, FieldInfo]]:
    return ((name, one) for name, one in model.model_fields.items() if not one.is_required())


def _same(value: Any, usual: Any) -> bool:
    """Whether a document need not say it, for that is what it would be anyway."""
    return value == usual or (isinstance(usual, tuple) and value == list(usual))


def seconds(value: float) -> str:
    """A duration as documents write it."""
    return f"{_plain(value)}s"


def _value(field: str, value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if field.endswith("_ms"):
            return f"{_plain(value)}ms"
        if field.endswith("_s"):
            return seconds(value)
        return value
    if isinstance(value, Mapping):
        return {key: _value("", one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_value("", one) for one in value]
    return value


def _plain(value: float) -> str:
    """A number without an exponent or a needless fraction."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _load(load: Load, locustfile: str) -> dict[str, Any]:
    written: dict[str, Any] = {
        "locustfile": locustfile,
        "ratePerS": load.rate_per_s,
        "users": load.users,
    }
    if load.workers != 1:
        written["workers"] = load.workers
    if load.tags:
        written["tags"] = list(load.tags)
    return written


def _validity(validity: Validity) -> dict[str, Any] | None:
    if validity == Validity():
        return None
    return {
        "maxSendLagP99": f"{_plain(validity.max_send_lag_p99_ms)}ms",
        "minAchieved": validity.min_achieved,
        "maxCpu": validity.max_cpu,
        "maxClockError": f"{_plain(validity.max_clock_error_ms)}ms",
        "maxSaturatedShare": validity.max_saturated_share,
        "maxFlowErrors": validity.max_flow_errors,
        "maxStarvedCores": validity.max_starved_cores,
    }


def _abort(guard: Guard) -> dict[str, Any]:
    written: dict[str, Any] = {"maxFaultDuration": seconds(guard.max_fault_s)}
    if guard.error_rate is not None:
        rate = {"gt": guard.error_rate, "for": seconds(guard.error_rate_for_s)}
        written["errorRate"] = rate
    return written
