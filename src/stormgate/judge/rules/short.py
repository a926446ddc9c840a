"""A short try says that it is one. What it changed, the objectives decide with the samples they
got; what it left out was not tried, and that is never a pass.
"""

from __future__ import annotations

from stormgate.judge.rules.validity import finding
from stormgate.model import LEFT_OUT, Finding, Plan

NAME = "whole gate"


def check_short(plan: Plan) -> Finding | None:
    """The finding over a short try; None for a whole gate."""
    if not plan.short:
        return None
    left = [told for told in plan.short if told.endswith(LEFT_OUT)]
    return finding(NAME, left, ok=f"a short try: {', '.join(plan.short)}")
