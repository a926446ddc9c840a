"""verdict.json, and the judgement of a run that has not been judged yet."""

from __future__ import annotations

import json
import math
from typing import Any

from stormgate.model import Finding, Judgement, Plan, Verdict, to_json

NOT_YET = "the run has not been judged: it is still going, or it died before its end"


def verdict_json(judgement: Judgement) -> str:
    """The judgement as JSON, keys in the order of the model, ending in a newline. `release`,
    `short`, `attempts` and `proofs` are there only when there is something to say.
    """
    data = to_json(judgement)
    for key, said in (
        ("release", bool(judgement.release)),
        ("short", bool(judgement.short)),
        ("attempts", bool(judgement.attempts)),
        ("proofs", judgement.proofs is not None),
    ):
        if not said:
            del data[key]
    return json.dumps(_finite(data), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no infinity: what was never reached (a percentile over failures only) is null, and
    `why` says it.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def not_judged_yet(plan: Plan) -> Judgement:
    """INCONCLUSIVE, objective by objective: what the reports say until the run has been judged."""
    return Judgement(
        gate=plan.gate,
        verdict=Verdict.INCONCLUSIVE,
        exit_code=Verdict.INCONCLUSIVE.exit_code,
        plan_digest=plan.digest,
        release=plan.release,
        short=plan.short,
        attempts=plan.attempts,
        proofs=plan.proofs,
        objectives=tuple(
            Finding(
                name=objective.name,
                kind=objective.kind,
                verdict=Verdict.INCONCLUSIVE,
                value=None,
                bound=None,
                limit=None,
                unit="",
                samples=0,
                why=NOT_YET,
                source=objective.source,
            )
            for objective in plan.objectives
        ),
        why=NOT_YET,
    )
