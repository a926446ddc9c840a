"""What a detour does to who looks at the Service from outside, where its component says how."""

from __future__ import annotations

from typing import Any

from stormgate.faults.backends import Observation
from stormgate.faults.backends.kubernetes.ways import Record
from stormgate.faults.errors import CannotBreak, NotWhole
from stormgate.faults.proof import NARROW_MIN_MS, added_latency_ms, shows, silence_s
from stormgate.model import Component
from stormgate.net.look import look, padding_sent

_LOOK_S, _LOOKS = 3.0, 3
_PADDING = 60_000
# As for a link: with a share of 0.2 the chance to meet no broken connection is 0.01 %.
_TRIES = 40


def before(part: Component, mode: str, params: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """(parameters, how soon it answers now in ms): 0 where nobody looks. Raises NotWhole,
    CannotBreak.
    """
    if part.observe is None:
        return params, 0.0
    if mode == "bandwidth":
        params["padding_bytes"] = padding_sent(part.observe, _PADDING)
        if added_latency_ms(mode, params) < NARROW_MIN_MS:
            raise CannotBreak(
                f"{part.name}: {params['rate_kb_per_s']} KB/s is too wide to be told from no limit "
                f"by {part.observe.protocol}"
            )
    padding = int(params.get("padding_bytes", 0))
    looks = [look(part.observe, _LOOK_S, padding=padding) for _ in range(_LOOKS)]
    for one in looks:
        if not one.healthy:
            raise NotWhole(f"{part.name}: before the fault {part.observe.address} was {one}")
    return params, min(one.latency_ms for one in looks)


def shown(part: Component, record: Record) -> Observation:
    """One look from outside, many where a share of the connections breaks. A balancer in front may
    answer for what it cannot reach: unwell is as good as refused.
    """
    if part.observe is None:
        return Observation(True, "nobody looks at it from outside")
    mode, params, before_ms = str(record["mode"]), record["params"], float(record["before_ms"])
    timeout_s = silence_s(before_ms)
    if mode in {"slow", "bandwidth"}:
        timeout_s += 2 * added_latency_ms(mode, params) / 1000
    padding, tries = int(params.get("padding_bytes", 0)), _TRIES if mode == "lossy" else 1
    for tried in range(1, tries + 1):
        now = look(part.observe, timeout_s, padding=padding)
        seen = shows(mode, params, before_ms, now)
        broken = mode not in {"slow", "bandwidth"} and not now.healthy
        if seen.seen or broken:
            return Observation(True, f"{part.observe.address} {seen.saw} (look {tried})")
    return Observation(False, f"{part.observe.address} {seen.saw}")
