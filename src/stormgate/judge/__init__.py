"""The judge: plan and evidence in, verdict out. Pure: no socket, no clock, no randomness
(docs/statistics.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stormgate.judge.context import RunLike
    from stormgate.model import Judgement, Plan

__all__ = ["judge"]


def judge(run: RunLike, plan: Plan | None = None) -> Judgement:
    """The judgement of a run folder's evidence, against its own plan or another one.

    Never raises over evidence: what is missing or torn makes it INCONCLUSIVE or worse, and so does
    an objective that does not fit its kind.
    """
    from stormgate.judge.engine import judge_run

    return judge_run(run, plan)
