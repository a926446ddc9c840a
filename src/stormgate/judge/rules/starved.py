"""Did a target on the gate's own machine fail because others had its processors? Decided per second
from machine.ndjson, which only a gate that started its target itself writes.

It takes two things at once. Processors that the run waited for while others, or the hypervisor, had
as much: no more than what it waited for, no more than what they had. And a machine without idle
processors: else who waited could have run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stormgate.evidence.laws import machine_problem
from stormgate.evidence.timeline import PhaseWindow
from stormgate.judge.rules.generator import seconds_touched
from stormgate.model import Plan

# A second is full when less than this share of all processors was idle.
IDLE_SHARE = 0.1


def taken_cores(row: Mapping[str, Any]) -> float:
    """How many processors the run wanted and others had in a row's time: 0 where the row breaks its
    law, or the machine had idle ones.
    """
    if machine_problem(row) is not None:
        return 0.0
    cores, others = float(row["cores"]), float(row["others"]) + float(row["steal"])
    if cores - float(row["own"]) - others > IDLE_SHARE * cores:
        return 0.0
    return min(float(row["waited"]), others)


@dataclass(frozen=True)
class MachineHealth:
    """The seconds in which others had what the run waited for: (begin, end, why), CLOCK_MONOTONIC
    ns. Without any nothing is excused.
    """

    spans: tuple[tuple[int, int, str], ...] = ()
    allowed_share: float = 0.05

    def excuse(self, windows: Sequence[PhaseWindow]) -> str | None:
        """Why a FAIL that rests on the timing of these windows is not the target's for sure; None:
        it is. One second is always allowed, as of the generator.
        """
        for window in windows:
            starved = seconds_touched(self.spans, window)
            if len(starved) > max(1.0, self.allowed_share * window.duration_s):
                at = min(starved)
                return (
                    f"machine starved in {len(starved)} of {window.blocks} s of {window.name} "
                    f"(allowed {self.allowed_share:.0%}), first at +{at} s: {starved[at]}"
                )
        return None


def starvation_of(rows: Sequence[Mapping[str, Any]], plan: Plan) -> MachineHealth:
    """The machine's health by a run's rows: of a target that the gate did not start itself, and
    under a limit that is none, nothing is excused.
    """
    limit, share = plan.validity.max_starved_cores, plan.validity.max_saturated_share
    if plan.target.provision is None or not (math.isfinite(limit) and limit > 0):
        return MachineHealth(allowed_share=share)
    spans = []
    for row in rows:
        taken = taken_cores(row)
        if taken > limit:
            at = int(row["at_ns"])
            others = float(row["others"]) + float(row["steal"])
            why = (
                f"others had {others:.2f} of {int(row['cores'])} processors while this run waited "
                f"for {float(row['waited']):.2f} (allowed {limit:g})"
            )
            spans.append((at - round(float(row["window_s"]) * 1e9), at, why))
    return MachineHealth(tuple(sorted(spans)), share)
