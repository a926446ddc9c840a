"""In which ways the experiments of a plan will ask each component's own backend to break it."""

from __future__ import annotations

from pathlib import Path

from stormgate.documents.experiments import Given, check_experiment
from stormgate.documents.problems import Problems
from stormgate.model import Plan


def asked_modes(plan: Plan, root: Path) -> dict[str, set[str]]:
    """Modes by component, as far as they are known before the run, of a plan that was read without
    a problem. `root` is what the plan's paths are relative to.
    """
    found: dict[str, set[str]] = {}
    for fault in plan.faults:
        given = Given(dict(fault.configuration))
        touched = check_experiment(root / fault.experiment, given, root, plan.target, Problems())
        for name, modes in touched.asked.items():
            found.setdefault(name, set()).update(modes)
    return found
