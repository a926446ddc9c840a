"""What users met while a violation stood, counted by itself: whether an objective that passed did
so over a real one, or nobody felt it. And what an objective's proof comes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.samples import Requests
from stormgate.evidence.timeline import fault_windows
from stormgate.judge.context import RunLike
from stormgate.judge.violations.breach import SLOW, UNSERVED
from stormgate.model import PASSED_OVER, PROVED, UNDECIDED, Fault, Judgement, Verdict

# Users are not answered if of one population so many requests fail or take so long, ms.
_BAD, _LATE_MS = 0.5, 2000.0
# Of the latency that a link was given so much has to arrive at the users of one population.
_ARRIVED = 0.8
# The rules that say why a violation did not come about.
_TELLING = ("course", "faults", "journals")


@dataclass(frozen=True, slots=True)
class Harm:
    """Of the population that fared worst: the share of requests that failed or took over 2 s, and
    the median of the others, ms. None: nothing was sent.
    """

    requests: int = 0
    bad_share: float | None = None
    median_ms: float | None = None

    @property
    def text(self) -> str:
        if self.bad_share is None or self.median_ms is None:
            return "nobody asked anything meanwhile"
        return (
            f"of the users who fared worst {self.bad_share:.0%} of the requests failed or took "
            f"over {_LATE_MS / 1000:g} s, their median was {self.median_ms:.0f} ms"
        )


def harm_of(run: RunLike, fault: Fault) -> Harm:
    """What was met between the observation of a fault and its undoing; of a run's requests."""
    window = fault_windows(run.timeline, run.phases(), [fault])[0]
    begin, end = window.observed_ns, window.rollback_ns
    if begin is None or end is None:
        return Harm()
    met: dict[str, list[NDArray[np.float64]]] = {}
    requests = Requests(run.batches())
    for block in requests:
        inside = (block.intended_ns >= begin) & (block.intended_ns < end) & ~block.not_sent
        codes = block.codes["population"]
        for code in np.unique(codes[inside]):
            rows = inside & (codes == code)
            name = requests.columns["population"].names[int(code)]
            waited = np.where(block.ok[rows], block.latency_ns[rows] / 1e6, np.inf)
            met.setdefault(name, []).append(waited)
    if not met:
        return Harm()
    waits = [np.concatenate(parts) for parts in met.values()]
    return Harm(
        requests=sum(len(one) for one in waits),
        bad_share=max(float((one > _LATE_MS).mean()) for one in waits),
        median_ms=max(float(np.median(one)) for one in waits),
    )


def felt(way: str, harm: Harm, latency_ms: float) -> bool | None:
    """Whether users met what a violation is meant to be; None: these figures cannot say."""
    if harm.bad_share is None or harm.median_ms is None:
        return False
    if way == UNSERVED:
        return harm.bad_share >= _BAD
    if way == SLOW:
        return harm.median_ms >= _ARRIVED * latency_ms
    return None


def proof_of(
    judgement: Judgement, objective: str, *, met: bool | None, harm: Harm, limit: Mapping[str, str]
) -> tuple[str, str]:
    """The state of an objective's proof, and why. `met`: as `felt`; `limit`: of objectives whose
    limit lets even this violation pass, in which words.
    """
    finding = next((f for f in judgement.objectives if f.name == objective), None)
    faults = next((f for f in judgement.validity if f.name == "faults"), None)
    if finding is None:
        return UNDECIDED, f"{judgement.verdict}: {judgement.why}"
    if faults is None or faults.verdict is not Verdict.PASS:
        told = [
            f for f in judgement.validity if f.name in _TELLING and f.verdict is not Verdict.PASS
        ]
        doubt = "; ".join(f.why for f in told) or judgement.why
        return UNDECIDED, f"the violation is not proven: {doubt}"
    if finding.verdict is Verdict.FAIL:
        return PROVED, finding.why
    if finding.verdict is not Verdict.PASS:
        return UNDECIDED, f"{finding.verdict}: {finding.why}"
    if met is None:
        return (
            UNDECIDED,
            f"it passed, and whether users met the violation is not known: {harm.text}",
        )
    if not met:
        return UNDECIDED, f"it passed, for users did not meet the violation: {harm.text}"
    loose = f"; {limit[objective]}" if objective in limit else ""
    return PASSED_OVER, f"it passed ({finding.why}) over a violation: {harm.text}{loose}"
