"""What a command line changes of a gate for a short try: `--set`, `--rate` and `--only-fault`.

Objectives and validity cannot be changed: a try measures less, it does not ask for less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stormgate.documents.problems import Problems, nearest
from stormgate.documents.violations.rewrite import Violated
from stormgate.documents.yamlfile import Document
from stormgate.model import LEFT_OUT, Plan

# Where a gate says how long and how much; what must hold is said elsewhere.
CHANGEABLE = (
    "phases",
    "load.ratePerS",
    "load.users",
    "load.workers",
    "abort",
    "seed",
    "stop",
)
# Phases that are judged: one of no length at all was not tried.
_JUDGED = {"phases.steady": "steady_s", "phases.final": "final_s"}
FILE = "--set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Changes of one gate: `values` by dotted path below `spec`, and the only faults to try; or
    a violation in the place of its faults.
    """

    values: tuple[tuple[str, Any], ...] = ()
    only_faults: tuple[str, ...] = ()
    violated: Violated | None = None

    def apply(self, gate: Document, problems: Problems) -> None:
        """Change the gate's data in place. What does not fit it is noted."""
        spec = gate.data.get("spec")
        if not isinstance(spec, dict):
            return
        if self.violated is not None:
            self.violated.rewrite(spec)
        for path, value in self.values:
            at = spec
            *parents, last = path.split(".")
            for step in parents:
                below = at.setdefault(step, {})
                if not isinstance(below, dict):
                    message = f"{path}: {step} has no keys below it"
                    problems.add(FILE, 1, message, f"set {step} itself")
                    return
                at = below
            at[last] = value
        faults = spec.get("faults")
        listed = faults if isinstance(faults, list) else []
        names = [str(fault.get("name")) for fault in listed if isinstance(fault, dict)]
        for name in self.only_faults:
            if name not in names:
                fix = nearest(name, names, what="faults") if names else "leave --only-fault out"
                problems.add("--only-fault", 1, f"the gate has no fault {name!r}", fix)
        for fault in listed if self.only_faults else ():
            name, other = str(fault.get("name")), fault.get("overlaps")
            if name in self.only_faults and other in set(names) - set(self.only_faults):
                message = f"{name!r} overlaps {other!r}, which would not stand"
                problems.add("--only-fault", 1, message, f"add --only-fault {other}")

    def asked(self, plan: Plan) -> Plan:
        """The plan with what it is asked for alone: all, or what a violation is made for."""
        return plan if self.violated is None else self.violated.asked(plan)

    def made(self, plan: Plan) -> Plan:
        """The plan of the changed gate: without the faults left out, and saying what changed."""
        kept = tuple(f for f in plan.faults if not self.only_faults or f.name in self.only_faults)
        left = tuple(f"fault {f.name} {LEFT_OUT}" for f in plan.faults if f not in kept)
        emptied = {path for path, _ in self.values} & set(_JUDGED)
        left += tuple(f"{p} {LEFT_OUT}" for p in sorted(emptied) if not getattr(plan, _JUDGED[p]))
        changed = (f"{path}={_text(value)}" for path, value in self.values)
        short = (*plan.short, *changed, *left)
        return replace(plan, faults=kept, short=short).sealed() if short else plan


NO_CHANGES = Changes()


def parse_changes(
    assignments: Sequence[str], rate_per_s: float | None, only_faults: Sequence[str]
) -> Changes:
    """The changes of a command line. Raises ValueError for what is not PATH=VALUE."""
    values: list[tuple[str, Any]] = []
    for text in assignments:
        path, equals, value = text.partition("=")
        path = path.strip().removeprefix("spec.")
        if not equals or not path or not value.strip():
            raise ValueError(f"{text!r} is not PATH=VALUE; write --set phases.steady=20s")
        if not any(path == one or path.startswith(f"{one}.") for one in CHANGEABLE):
            raise ValueError(
                f"{path!r} cannot be changed for a try; only {', '.join(CHANGEABLE)} can"
            )
        values.append((path, _scalar(value.strip())))
    if rate_per_s is not None:
        values.append(("load.ratePerS", rate_per_s))
    return Changes(values=tuple(values), only_faults=tuple(only_faults))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scalar(text: str) -> Any:
    """A value as YAML 1.2 reads it: a number, true, false, or text."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
