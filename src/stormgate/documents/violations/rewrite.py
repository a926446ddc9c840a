"""A gate in which one violation stands in the place of its faults: its objectives are asked of the
phase of that fault, whatever phases they are asked of otherwise; what must hold stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stormgate.judge.registry import kinds
from stormgate.model import VIOLATED, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Violated:
    """`fault` is the violation's name, `experiment` its file, `objectives` those that are judged.
    `phases` are the seconds of warmup, steady and final; `guarded`: the guard over the share of
    errors stays.
    """

    fault: str
    told: str
    experiment: Path
    objectives: tuple[str, ...]
    phases: Mapping[str, float]
    recovery_s: float
    rate_per_window: float | None = None
    guarded: bool = False

    def rewrite(self, spec: dict[str, Any]) -> None:
        """Change a gate's spec in place, as it was read from YAML and before anything is checked:
        what is wrong with it is told as of any gate.
        """
        spec["phases"] = {name: f"{seconds:g}s" for name, seconds in self.phases.items()}
        fault: dict[str, Any] = {
            "name": self.fault,
            "experiment": str(self.experiment.resolve()),
            "recovery": f"{self.recovery_s:g}s",
        }
        if self.rate_per_window is not None:
            fault["ratePerWindow"] = self.rate_per_window
        spec["faults"] = [fault]
        spec.pop("stop", None)
        if not self.guarded and isinstance(spec.get("abort"), dict):
            spec["abort"] = {k: v for k, v in spec["abort"].items() if k != "errorRate"}
        objectives = spec.get("objectives")
        for one in objectives if isinstance(objectives, list) else ():
            if isinstance(one, dict):
                self._ask(one)

    def _ask(self, objective: dict[str, Any]) -> None:
        kind = kinds().get(str(objective.get("kind")))
        fields = kind.spec_model.model_fields if kind is not None else {}
        if "phases" in fields:
            objective["phases"] = ["fault"]
        if "versus" in fields:
            objective["versus"] = ["steady"]
        if objective.get("fault") is not None:
            objective["fault"] = self.fault

    def asked(self, plan: Plan) -> Plan:
        """The plan with the objectives alone that the violation is made for, saying so."""
        kept = tuple(one for one in plan.objectives if one.name in self.objectives)
        short = (f"{VIOLATED} by {self.fault}: {self.told}",)
        return replace(plan, objectives=kept, waivers=(), retry_inconclusive=0, short=short)
