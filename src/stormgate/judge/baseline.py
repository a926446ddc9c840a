"""Finding the run to compare with, before a run starts: the last one of the same gate that passed.
The judge itself reads only the plan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stormgate.judge.registry import kinds
from stormgate.model import Judgement, Plan, Verdict, from_json


def with_baselines(plan: Plan, reports: Path) -> Plan:
    """The plan (not sealed) with the baseline of each objective that is held against an earlier run
    filled in from the run folders under `reports`.

    A run counts if it passed, or if only the want of a baseline kept it from passing. Folders that
    cannot be read are passed over.
    """
    if not any(_compares(o.kind) for o in plan.objectives):
        return plan
    objectives = []
    for objective in plan.objectives:
        if _compares(objective.kind):
            spec = {k: v for k, v in objective.spec.items() if k != "baseline"}
            objectives.append(
                replace(
                    objective,
                    spec={**spec, "baseline": _latest(plan.gate, objective.name, spec, reports)},
                )
            )
        else:
            objectives.append(objective)
    return replace(plan, objectives=tuple(objectives))


def _latest(gate: str, name: str, spec: Mapping[str, Any], reports: Path) -> dict[str, Any] | None:
    # Folder names begin with their UTC time, so names sort as runs began.
    for folder in sorted(
        (p for p in reports.glob("*") if p.is_dir() and not p.is_symlink()),
        key=lambda p: p.name,
        reverse=True,
    ):
        try:
            judgement = from_json(Judgement, json.loads((folder / "verdict.json").read_bytes()))
            plan = from_json(Plan, json.loads((folder / "plan.json").read_bytes()))
        except (OSError, ValueError):
            continue
        if judgement.gate != gate or plan.short or not _passed(judgement):
            continue
        asked = next((o for o in plan.objectives if o.name == name and _compares(o.kind)), None)
        if asked is None or {
            k: v for k, v in asked.spec.items() if k not in ("baseline", "margin")
        } != {k: v for k, v in spec.items() if k != "margin"}:
            continue  # another quantile, phase or selection: not the same measurement
        finding = next(
            (f for f in judgement.objectives if f.name == name and _compares(f.kind)), None
        )
        estimate = finding.detail.get("estimate") if finding is not None else None
        if isinstance(estimate, Mapping):
            return {"run": folder.name, **estimate}
    return None


def _passed(judgement: Judgement) -> bool:
    """PASS, but for objectives that had no baseline to be held against."""
    rest = [
        f.verdict
        for f in (*judgement.objectives, *judgement.validity)
        if not (_compares(f.kind) and f.value is None)
    ]
    mine = [f.verdict for f in judgement.objectives if _compares(f.kind)]
    good = all(v is Verdict.PASS for v in rest) and all(
        v in (Verdict.PASS, Verdict.INCONCLUSIVE) for v in mine
    )
    return good and bool(judgement.objectives)


def _compares(name: str) -> bool:
    kind = kinds().get(name)
    return kind is not None and kind.against_baseline
