"""A trial may be tried again by the gate itself, but only when nothing but the load generator kept
it from an answer; every attempt stays, with its folder and its verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stormgate.judge.decide import generator_alone
from stormgate.model import Attempt, Judgement, Plan

Run = Callable[[Plan], tuple[Judgement, Path]]


def try_plan(plan: Plan, run: Run, say: Callable[[str], None]) -> Judgement:
    """Run the plan, and again while its own `retry_inconclusive` allows and the run was
    INCONCLUSIVE for the generator's sake alone. The last attempt's judgement; its plan names the
    ones before. `say` is told of each that is repeated.
    """
    while True:
        judgement, folder = run(plan)
        tried = len(plan.attempts) + 1
        if tried > plan.retry_inconclusive or not generator_alone(judgement):
            return judgement
        earlier = Attempt(folder=folder.name, verdict=judgement.verdict.value, why=judgement.why)
        plan = replace(plan, attempts=(*plan.attempts, earlier))
        say(
            f"attempt {tried} of {plan.retry_inconclusive + 1} decided nothing because of the load "
            f"generator ({judgement.why}); once more"
        )
