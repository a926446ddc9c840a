"""tracesWhole: whoever got an error can be told why: the trace of each failed request is there, and
nothing of it is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from stormgate.evidence.arrow import UNKNOWN
from stormgate.judge.cells import where_mask
from stormgate.judge.context import rows_in
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need, Result
from stormgate.judge.rules.spans import broken_at, by_trace
from stormgate.judge.spec import Names, Samples
from stormgate.model import Plan, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stormgate.evidence.samples import Block


class TracesWholeSpec(Samples):
    """`label` is the column with the trace of a request, read from its answer. Looked at are the
    requests that were answered with a status of 500 and more; `max_bad` of them may be without.
    """

    label: str = Field(default="trace", min_length=1)
    phases: Names = Field(default=("fault",), min_length=1)
    max_bad: int = Field(default=0, ge=0)
    min_samples: int = Field(default=20, ge=1)


class TracesWhole:
    """A count: FAIL above `max_bad` failed requests without a whole trace. Who got no answer at all
    was not told a trace, and says nothing. INCONCLUSIVE with too few failed requests, or where no
    trace at all was received: then it is the harness that heard nothing.
    """

    def __init__(self, task: JudgeTask) -> None:
        self.task = task
        self.spec: TracesWholeSpec = task.spec
        self.windows = task.context.windows(self.spec.phases)
        self.traces = by_trace(task.context.traces)
        self.failed = self.unnamed = self.absent = 0
        self.torn: dict[str, int] = {}

    def add(self, block: Block) -> None:
        rows, _ = rows_in(block, self.windows)
        keep = ~block.not_sent[rows] & (block.status[rows] >= 500)
        where = where_mask(block, self.spec.where)
        if where is not None:
            keep &= where[rows]
        rows = rows[keep]
        self.failed += len(rows)
        names = block.columns[self.spec.label].names
        for code in np.asarray(block.label(self.spec.label)[rows]).tolist():
            name = names[code]
            if code <= 0 or name == UNKNOWN:
                self.unnamed += 1
            elif name not in self.traces:
                self.absent += 1
            elif (why := broken_at(self.traces[name])) is not None:
                self.torn[why] = self.torn.get(why, 0) + 1

    def finish(self) -> Result:
        task, spec = self.task, self.spec
        bad = self.unnamed + self.absent + sum(self.torn.values())
        base: dict[str, Any] = {
            "limit": float(spec.max_bad),
            "unit": "requests",
            "samples": self.failed,
        }
        if self.windows.missing:
            why = f"phase {', '.join(self.windows.missing)} is not in the evidence whole"
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        if not self.traces:
            why = "no trace was received: nobody listened, or nobody told"
            return Result(task.finding(Verdict.INCONCLUSIVE, why, **base))
        parts = [
            f"{count:,} {what}"
            for what, count in (
                ("were told no trace", self.unnamed),
                ("have a trace that was never received", self.absent),
                *((f"have one that {why}", count) for why, count in sorted(self.torn.items())),
            )
            if count
        ]
        why = f"of {self.failed:,} failed requests {'; '.join(parts) or 'all have a whole trace'}"
        verdict = Verdict.PASS
        if bad > spec.max_bad:
            verdict = Verdict.FAIL
        elif self.failed < spec.min_samples:
            verdict = Verdict.INCONCLUSIVE
            why += f"; {spec.min_samples:,} failed requests wanted"
        value = float(bad)
        finding = task.finding(
            verdict, why, value=value, bound=value, detail={"traces": len(self.traces)}, **base
        )
        return Result(finding)


def _canaries(spec: TracesWholeSpec) -> Sequence[Canary]:
    """Errors whose trace ends at the door, while others' are whole."""
    torn: list[Mapping[str, Any]] = [
        {"trace": "aa", "span": "1", "parent": "", "kind": "server", "status": 503},
        {"trace": "aa", "span": "2", "parent": "1", "kind": "client", "status": 503},
    ]
    return (Canary(outcome="bad_status", status=503, labels={spec.label: "aa"}, traces=torn),)


def _need(spec: TracesWholeSpec, plan: Plan) -> Need:
    return Need(spec.min_samples, None, "requests that fail: a fault that users feel")


def _contradictions(
    spec: TracesWholeSpec, plan: Plan, lengths: Mapping[str, float]
) -> Sequence[str]:
    if not plan.receive:
        return ["nothing listens for traces: add receive: {listen: 127.0.0.1:PORT} to the gate"]
    return []


KIND = Kind(
    "tracesWhole",
    TracesWholeSpec,
    TracesWhole,
    _canaries,
    _need,
    timing=False,
    users="",
    contradictions=_contradictions,
)
