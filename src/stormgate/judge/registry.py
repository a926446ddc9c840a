"""Objective kinds, registered by being a file in or below judge/kinds/ with a `KIND`; and what a
kind must offer.

A kind turns an objective into an accumulator: it sees every block of requests once, in no
particular order, and then says a Finding.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from stormgate.judge.violations.breach import Breach
from stormgate.model import Cell, Finding, Objective, Plan, Verdict

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block
    from stormgate.judge.context import JudgeContext
    from stormgate.judge.spec import Spec


@dataclass(frozen=True, slots=True)
class Result:
    """A finding, and the p-value of its FAIL where it rests on chance (None: a fact, or no
    FAIL).
    """

    finding: Finding
    p_fail: float | None = None


class Accumulator(Protocol):
    """Counts what an objective needs."""

    def add(self, block: Block) -> None:
        """See some requests. Called for each block once."""

    def finish(self) -> Result:
        """The finding over all that was seen."""


@dataclass(frozen=True)
class JudgeTask:
    """One objective of a plan, with its specification validated, about to be judged."""

    objective: Objective
    spec: Any
    context: JudgeContext

    @property
    def alpha(self) -> float:
        return 1.0 - self.context.plan.confidence

    def finding(self, verdict: Verdict, why: str, **fields: Any) -> Finding:
        """A Finding with the objective's name, kind and source filled in; numbers default to not
        measured.
        """
        numbers: dict[str, Any] = {
            "value": None,
            "bound": None,
            "limit": None,
            "unit": "",
            "samples": 0,
            **fields,
        }
        cells: Sequence[Cell] = numbers.pop("cells", ())
        o = self.objective
        return Finding(
            name=o.name,
            kind=o.kind,
            verdict=verdict,
            why=why,
            source=o.source,
            cells=tuple(cells),
            **numbers,
        )


@dataclass(frozen=True, slots=True)
class Need:
    """What an objective needs to be decidable: `requests` in its phases per cell, and what to tell
    whoever plans it.
    """

    requests: int
    allowed: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Canary:
    """A violation that an objective must notice: how every request of its phases looks, and what
    probes would read, spread over each phase.

    `labels` are written over every request's own; `readings` are values per probe. `from_fault`:
    all was well until the first fault was requested. `operations`, `final` and `residency` are rows
    of those files, whose times (`invoked`, `completed`, `at`) are shares of the run; what is read
    in the end was planned. `dealt` gives each request in turn one of a label's values, the same
    turn for all of them, and with `last_turn_only` those of the last one alone go wrong.
    """

    outcome: str = "reset"
    status: int = 200
    latency_ms: float = 5.0
    labels: Mapping[str, str] = field(default_factory=dict)
    dealt: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    last_turn_only: bool = False
    operations: Sequence[Mapping[str, Any]] = ()
    final: Sequence[Mapping[str, Any]] = ()
    residency: Sequence[Mapping[str, Any]] = ()
    readings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    traces: Sequence[Mapping[str, Any]] = ()
    everywhere: bool = True
    from_fault: bool = False


def _no_seconds(_: Any) -> float:
    return 0.0


def _no_share(_: Any) -> tuple[float, float] | None:
    return None


def _no_number(_: Mapping[str, Any]) -> float | None:
    return None


def _no_probe(_: Mapping[str, Any]) -> str | None:
    return None


def _no_interval(_: Finding, __: float) -> tuple[float, float] | None:
    return None


def _no_breach(_: Any) -> Breach | str:
    return "a sound target keeps it whatever of it is broken"


def _nothing(_: Any, __: Plan, ___: Mapping[str, float]) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Kind:
    """One kind of objective, and all that others ask of one: nobody else knows a kind by its name.

    `canaries` are violations that must not stay green; `sample_need` serves `stormgate plan`.
    `timing` says that the finding depends on when the generator sent and received, so a saturated
    generator makes it INCONCLUSIVE; `latency` that it also needs an open loop.

    `users`: where it looks at the latency or the errors of users' requests: in the `phases` of its
    spec, in all `faults` (or the one its spec names), or nowhere ("").
    `over_faults`: it is judged on every fault and recovery, whatever phases its spec names.
    `outage`: value and bound are the least and the most seconds of one outage; `allowed_outage_s`
    of a spec is the longest it lets pass, `served` the share of requests, within how many ms, that
    it calls served. `against_baseline`: an earlier run is filled into its
    spec. `contradictions` and `notes` (of a spec, the plan and the seconds of each of the
    objective's phases) are what cannot work, or is worth knowing, before a run. `interval` of a
    finding at alpha is what one run says the value could truly be. `good_within_ms` and
    `drawn_limit_ms` of a spec (as the plan holds it) serve the charts of a report; `reads` is the
    probe whose readings it needs. `breach` of a spec is what violates it, or why nothing
    can. `data`: it is judged on operations and what was read back.
    """

    name: str
    spec_model: type[Spec]
    judge: Callable[[JudgeTask], Accumulator]
    canaries: Callable[[Any], Sequence[Canary]]
    sample_need: Callable[[Any, Plan], Need]
    timing: bool = True
    latency: bool = False
    users: str = "phases"
    over_faults: bool = False
    outage: bool = False
    against_baseline: bool = False
    data: bool = False
    allowed_outage_s: Callable[[Any], float] = _no_seconds
    served: Callable[[Any], tuple[float, float] | None] = _no_share
    contradictions: Callable[[Any, Plan, Mapping[str, float]], Sequence[str]] = _nothing
    notes: Callable[[Any, Plan, Mapping[str, float]], Sequence[str]] = _nothing
    interval: Callable[[Finding, float], tuple[float, float] | None] = _no_interval
    good_within_ms: Callable[[Mapping[str, Any]], float | None] = _no_number
    drawn_limit_ms: Callable[[Mapping[str, Any]], float | None] = _no_number
    reads: Callable[[Mapping[str, Any]], str | None] = _no_probe
    breach: Callable[[Any], Breach | str] = _no_breach

    @property
    def spec(self) -> type[Spec]:
        """The pydantic model of the kind's fields."""
        return self.spec_model


@functools.cache
def kinds() -> dict[str, Kind]:
    """Every kind by name. Raises TypeError for a file in judge/kinds/ without a KIND, ValueError
    for a name used twice.
    """
    package = importlib.import_module("stormgate.judge.kinds")
    found: dict[str, Kind] = {}
    rooms = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    for module in sorted(rooms, key=lambda m: m.name):
        if module.ispkg:  # a room of kinds that have something in common
            continue
        kind = getattr(importlib.import_module(module.name), "KIND", None)
        place = module.name.removeprefix("stormgate.").replace(".", "/")
        if not isinstance(kind, Kind):
            raise TypeError(f"{place}.py defines no KIND of type Kind")
        if kind.name in found:
            raise ValueError(f"{place}.py: kind {kind.name!r} exists already")
        found[kind.name] = kind
    return found


def allowed_outage_s(plan: Plan) -> float:
    """The longest outage that some objective of the plan lets pass, s; 0 where none speaks of
    one.
    """
    found = kinds()
    return max(
        (
            found[o.kind].allowed_outage_s(found[o.kind].spec_model.model_validate(o.spec))
            for o in plan.objectives
        ),
        default=0.0,
    )
