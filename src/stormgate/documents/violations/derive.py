"""The plan of one violation: its experiment is written, and the gate is read with it by the very
reader of gates, so that all that holds for a fault holds for a violation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stormgate.documents.gate import load
from stormgate.documents.trial.given import Changes
from stormgate.documents.violations.planner import Violation
from stormgate.documents.violations.rewrite import Violated
from stormgate.model import Plan

# A violation needs no more of the phases around it, s.
_WARMUP_S, _STEADY_S, _FINAL_S, _RECOVERY_S = 3.0, 6.0, 1.0, 3.0
_ACTIONS = "stormgate.chaos.actions"


def derive(
    gate: Path, plan: Plan, violation: Violation, folder: Path, *, allow_production: bool = False
) -> Plan:
    """The plan of a gate (read as `plan`) with the violation for its fault; the experiment goes to
    `folder`. Raises DocumentErrors with all that the documents say against it, OSError.
    """
    if violation.experiment:
        experiment = Path(violation.experiment)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        experiment = folder / f"{violation.name}.json"
        whole = plan.target.status_url is not None or plan.target.provision is not None
        text = json.dumps(experiment_of(plan.gate, violation, whole), indent=1) + "\n"
        experiment.write_text(text, encoding="utf-8")
    production = plan.target.environment == "production"
    rates = [fault.rate_per_window for fault in plan.faults if fault.rate_per_window is not None]
    violated = Violated(
        fault=violation.name,
        told=violation.told,
        experiment=experiment,
        objectives=violation.objectives,
        phases={
            "warmup": min(plan.warmup_s, _WARMUP_S),
            "steady": min(plan.steady_s, _STEADY_S),
            "final": min(plan.final_s, _FINAL_S),
        },
        recovery_s=_RECOVERY_S,
        rate_per_window=max(rates, default=None),
        # Errors are what is asked for: only in production is even that too much.
        guarded=production,
    )
    changes = Changes(violated=violated)
    return load(gate, allow_production=allow_production, changes=changes)


def experiment_of(gate: str, violation: Violation, whole: bool) -> dict[str, Any]:
    """The violation as an experiment of Chaos Toolkit. `whole`: the target can say when it is."""
    actions = violation.way.actions if violation.way is not None else ()
    method = [
        _action(f"violate-{number}", func, dict(arguments))
        for number, (func, arguments) in enumerate(actions, start=1)
    ]
    return {
        "title": f"{gate} is violated: {violation.name}",
        "description": f"{violation.told}. Made by `stormgate prove`: each of "
        f"{', '.join(violation.objectives)} has to fail.",
        "tags": ["violation"],
        "controls": [
            {
                "name": "stormgate",
                "provider": {"type": "python", "module": "stormgate.chaos.control"},
            }
        ],
        "runtime": {"rollbacks": {"strategy": "always"}},
        "method": [*method, _action("hold", "hold", {"seconds": violation.hold_s})],
        "rollbacks": [
            _action("undo", "undo", {}),
            *([_action("whole", "wait_until_whole", {})] if whole else []),
        ],
    }


def _action(name: str, func: str, arguments: dict[str, Any]) -> dict[str, Any]:
    provider = {"type": "python", "module": _ACTIONS, "func": func, "arguments": arguments}
    return {"type": "action", "name": name, "provider": provider}
