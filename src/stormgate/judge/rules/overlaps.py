"""Did the faults that were to stand together do so? What overlaps nothing is another trial than the
one that was planned.
"""

from __future__ import annotations

from collections.abc import Sequence

from stormgate.evidence.timeline import SECOND_NS, FaultWindow
from stormgate.judge.rules.phases import TICK_S
from stormgate.model import Plan


def not_together(faults: Sequence[FaultWindow], plan: Plan) -> list[str]:
    """Faults that were planned to begin while another stands, and were not seen to, in words; none
    for those that broke nothing at all, which is told by itself.
    """
    by_name = {window.name: window for window in faults}
    found = []
    for fault in plan.faults:
        window, other = by_name.get(fault.name), by_name.get(fault.overlaps or "")
        if fault.overlaps is None or window is None or window.requested_ns is None:
            continue
        if other is None or other.requested_ns is None:
            found.append(f"{fault.name} was to overlap {fault.overlaps}, which was never broken")
            continue
        after_s = (window.requested_ns - other.requested_ns) / SECOND_NS
        if after_s < fault.after_s - TICK_S:
            found.append(
                f"{fault.name} came {after_s:.1f} s after {other.name}, and was planned for "
                f"{fault.after_s:g} s after it"
            )
        seen_ns = window.requested_ns if window.observed_ns is None else window.observed_ns
        over_ns = [at for at in (other.rollback_ns, other.cleared_ns) if at is not None]
        if over_ns and min(over_ns) <= seen_ns:
            late_s = (seen_ns - min(over_ns)) / SECOND_NS
            found.append(
                f"{fault.name} was to overlap {other.name}, and stood {late_s:.1f} s after that "
                "was taken back"
            )
    return found
