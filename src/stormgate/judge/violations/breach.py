"""What users have to meet for an objective to be violated, said by its kind: `stormgate prove`
makes it come true on a target, and sees the objective fail.
"""

from __future__ import annotations

from dataclasses import dataclass

# Ways to violate: nobody answers; answers are late; what is read is old.
UNSERVED, SLOW, STALE = "unserved", "slow", "stale"


@dataclass(frozen=True, slots=True)
class Breach:
    """`way`: what users meet. `seconds`: for how long without a break at least; `latency_ms`: by
    how much later their answers come; `allowed`: the share of requests that may meet it all the
    same.
    """

    way: str
    seconds: float = 0.0
    latency_ms: float = 0.0
    allowed: float = 0.0
