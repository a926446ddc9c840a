"""What one session saw: guarantees that hold for a user whatever others do.

Source: Terry et al., "Session guarantees for weakly consistent replicated data", 1994. Operations
of a session may overlap; only those that had ended before another began are before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import Field

from stormgate.evidence.operations import NOTHING, History
from stormgate.judge.histories.data import Data
from stormgate.judge.histories.judging import (
    Facts,
    OnHistory,
    OnKeys,
    counted,
    share_at_most,
)
from stormgate.judge.histories.segments import latest_before, pairs
from stormgate.judge.histories.told import op_detail, op_told, version_told, wrong_cell
from stormgate.judge.registry import Canary, JudgeTask, Kind, Need
from stormgate.judge.statistics.proportion import CELLS_SHOWN
from stormgate.model import Plan


class SessionSpec(OnKeys):
    """At most `max_bad` reads may go back, none by default, of at least `min_samples` that could
    have.
    """

    max_bad: int = Field(default=0, ge=0)
    min_samples: int = Field(default=100, ge=1)


Sources = Callable[[History], History]


def _look(task: JudgeTask, data: Data, sources: Sources, before: str) -> Facts:
    spec: SessionSpec = task.spec
    users = data.users
    users = users.take(data.keys(spec.keys)[users.key])
    reads = users.take(users.of("read") & users.ok)
    known = sources(users)
    known = known.take(known.version != NOTHING)
    seen, source = latest_before(
        (pairs(known.session, known.key), known.completed_ns, known.version),
        (pairs(reads.session, reads.key), reads.invoked_ns),
    )
    could = source >= 0
    back = np.flatnonzero(could & (seen > reads.version))
    facts = Facts(
        count=len(back) if len(back) > spec.max_bad else 0,
        samples=int(np.count_nonzero(could)),
        value=float(len(back)),
        bound=float(len(back)),
        limit=float(spec.max_bad),
        unit="reads",
    )
    if facts.count:
        for row in back[:CELLS_SHOWN].tolist():
            key = reads.names.keys.names[int(reads.key[row])]
            first = int(source[row])
            facts.wrong.append(
                wrong_cell(
                    f"{key} at {data.seconds(int(reads.invoked_ns[row])):.3f} s",
                    f"read {version_told(int(reads.version[row]))} "
                    f"({op_told(data, reads, row)}) after {before} {version_told(int(seen[row]))} "
                    f"({op_told(data, known, first)})",
                    **op_detail(data, reads, row),
                    before=op_detail(data, known, first),
                )
            )
    if facts.samples < spec.min_samples:
        facts.doubts.append(
            f"{counted(facts.samples, 'read')} of a key after {before} it in the same session, "
            f"{spec.min_samples:,} wanted"
        )
    facts.told = f"{len(back):,} of {counted(facts.samples, 'read')} went back"
    if not len(back) and facts.samples:
        most = facts.detail["share_at_most"] = share_at_most(facts.samples, task.alpha)
        facts.told += f"; at {1 - task.alpha:g} confidence at most {most:.2g} do"
    return facts


def session_kind(name: str, sources: Sources, before: str, canary: Sequence[str]) -> Kind:
    """A kind that wants no read to see an older version than the session's `sources` before it.
    `canary`: the kinds of the two operations that show a violation.
    """

    def judge(task: JudgeTask) -> OnHistory:
        return OnHistory(task, lambda task, data: _look(task, data, sources, before))

    def canaries(spec: SessionSpec) -> Sequence[Canary]:
        key = spec.keys.replace("*", "canary").replace("?", "c")
        rows = [
            {"kind": kind, "key": key, "version": 2 - late, "invoked": at, "completed": at + 0.001}
            for number in range(max(spec.max_bad + 1, spec.min_samples))
            for late, kind, at in (
                (0, canary[0], 0.3 + number * 1e-5),
                (1, canary[1], 0.5 + number * 1e-5),
            )
        ]
        return (Canary(outcome="ok", operations=rows),)

    def need(spec: SessionSpec, plan: Plan) -> Need:
        most = share_at_most(spec.min_samples, 1 - plan.confidence)
        note = (
            f"{spec.min_samples:,} reads of a key after {before} it in the same session: none "
            f"going back bounds their share at {most:.2g}"
        )
        return Need(spec.min_samples, None, note)

    return Kind(name, SessionSpec, judge, canaries, need, timing=False, users="", data=True)
