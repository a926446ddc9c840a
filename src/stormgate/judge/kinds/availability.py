"""availability: in these phases at least `target` of the requests were answered correctly, and
within `within_ms` if given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from stormgate.judge.intervals import of_share
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result, allowed_outage_s
from stormgate.judge.spec import Positive, Samples, Share
from stormgate.judge.statistics.bounds import requests_needed
from stormgate.judge.statistics.proportion import (
    BadShare,
    cell_verdicts,
    decisive,
    joint_p,
    shown,
    verdict_counts,
    why_cell,
)
from stormgate.judge.violations.breach import UNSERVED, Breach
from stormgate.model import Cell, Plan, Verdict, worst

if TYPE_CHECKING:
    from stormgate.evidence.samples import Block


class AvailabilitySpec(Samples):
    """`target` is the least share of good requests; 1 means not a single bad one. `within_ms`
    counts slower ones as bad.

    A conditional `claim` is about the seconds of this run; an unconditional one about any second,
    and needs as many clean seconds as the other needs requests (8.3 h for 99.99 %).
    """

    target: Share = Field(gt=0)
    within_ms: Positive | None = None
    claim: Literal["conditional", "unconditional"] = "conditional"


class Availability:
    """PASS if the upper bound of the bad share is at most 1 - target in every cell, FAIL if its
    lower bound is above it in one.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: AvailabilitySpec = task.spec
        self.allowed = round(1.0 - self.spec.target, 12)
        self.test = BadShare(task, lambda block: ~block.good(self.spec.within_ms))

    def add(self, block: Block) -> None:
        self.test.add(block)

    def finish(self) -> Result:
        task, allowed, alpha = self.task, self.allowed, self.task.alpha
        counted = self.test.counted(
            allowed, alpha, unconditional=self.spec.claim == "unconditional"
        )
        base: dict[str, Any] = {
            "limit": self.spec.target,
            "unit": "share",
            "samples": sum(c.total for c in counted),
        }
        unusable = self.test.unusable()
        if not counted or unusable:
            return Result(
                task.finding(
                    Verdict.INCONCLUSIVE, unusable or "no request was seen in its phases", **base
                )
            )
        verdicts = cell_verdicts(counted, allowed, alpha, self.spec.min_samples)
        blocks = self.test.windows.blocks
        cells = [
            Cell(
                name=c.name,
                verdict=v,
                value=1.0 - c.bad / c.total,
                bound=1.0
                - (c.bad / c.total if allowed <= 0 else c.lower if v is Verdict.FAIL else c.upper),
                samples=c.total,
                why=why_cell(c, v, allowed, alpha, blocks, self.spec.min_samples),
                detail={"bad": c.bad, "design_effect": c.deff},
            )
            for c, v in zip(counted, verdicts, strict=True)
        ]
        at = decisive(counted, verdicts)
        why = f"{cells[at].name}: {cells[at].why}" if self.spec.by else cells[at].why
        if base["samples"] < self.spec.min_samples:
            why = f"{base['samples']:,} requests, {self.spec.min_samples:,} wanted"
        detail = {
            "bad": sum(c.bad for c in counted),
            "cells": verdict_counts(verdicts),
            "blocks_s": blocks,
            "claim": "conditional",
        }
        finding = task.finding(
            worst(verdicts),
            why,
            value=cells[at].value,
            bound=cells[at].bound,
            cells=shown(cells),
            detail=detail,
            **base,
        )
        return Result(finding, joint_p(counted, allowed))


def _canaries(spec: AvailabilitySpec) -> Sequence[Canary]:
    outage = Canary(outcome="reset")
    if spec.within_ms is None:
        return (outage,)
    return (outage, Canary(outcome="ok", latency_ms=spec.within_ms * 2 + 1))


def _need(spec: AvailabilitySpec, plan: Plan) -> Need:
    allowed = round(1.0 - spec.target, 12)
    if allowed <= 0:
        return Need(spec.min_samples, None, "a single bad request fails it")
    needed = requests_needed(allowed, 1.0 - plan.confidence)
    if spec.claim == "unconditional":
        return Need(
            max(spec.min_samples, needed),
            allowed,
            f"an unconditional claim: {needed:,} s without an error",
        )
    return Need(max(spec.min_samples, needed), allowed)


def _contradictions(
    spec: AvailabilitySpec, plan: Plan, lengths: Mapping[str, float]
) -> Sequence[str]:
    """An outage that another objective allows may be more than this one forgives."""
    window, outage_s = sum(lengths.values()), allowed_outage_s(plan)
    struck = any(name.startswith("fault[") for name in lengths)
    budget = (1.0 - spec.target) * window
    if not struck or outage_s <= budget:
        return []
    needed_h = outage_s / (1.0 - spec.target) / 3600.0 if spec.target < 1 else math.inf
    return [
        f"{spec.target:.6g} inside a {window:.0f} s window with a {outage_s:g} s outage cannot "
        f"pass (it forgives {budget:.3f} s, and would need {needed_h:.1f} h): judge steady "
        "phases, or use budgetSpend"
    ]


def _within(spec: Mapping[str, Any]) -> float | None:
    return None if spec.get("within_ms") is None else float(spec["within_ms"])


def _breach(spec: AvailabilitySpec) -> Breach:
    return Breach(UNSERVED, allowed=1.0 - spec.target)


KIND = Kind(
    "availability",
    AvailabilitySpec,
    Availability,
    _canaries,
    _need,
    contradictions=_contradictions,
    interval=of_share,
    good_within_ms=_within,
    breach=_breach,
)
