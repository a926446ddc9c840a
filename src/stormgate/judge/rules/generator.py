"""Was the load generator fit to measure? Decided per second from generator.ndjson; a saturated
second measures the generator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stormgate.evidence.laws import generator_problem, number
from stormgate.evidence.timeline import SECOND_NS, PhaseWindow
from stormgate.model import Event, Validity

# Over how many rows a shortfall must show: requests that wait for a connection at one row's end are
# sent in the next.
_RECENT = 5
# So many due and none planned is no chance: e^-15 for a Poisson count.
_SURELY = 15.0
# Windows of one worker follow each other; a longer gap between two is time it said nothing about.
_GAP_NS = SECOND_NS // 10


def saturation(
    row: Mapping[str, Any],
    rules: Validity,
    recent: Sequence[Mapping[str, Any]] = (),
    rate_per_s: float = 0.0,
) -> str | None:
    """Why one second of one worker is saturated; None: it was fit. Missing numbers are no proof of
    fitness.

    `recent` are the rows just before it: a second sent too little only if those together did, or
    its neighbour made up for it. `rate_per_s`: what this worker was due to plan; one that has
    streams and plans nothing where plenty was due is dead, not idle.
    """
    broken = generator_problem(row)
    if broken is not None:
        return f"its row says nothing: {broken}"
    if row.get("engine_errors"):
        return f"its engine failed {int(row['engine_errors'])} times"
    planned, not_sent = int(row["planned"]), int(row["not_sent"])
    near = [r for r in recent if generator_problem(r) is None] + [row]
    acted = [_acted(r, before) for before, r in zip([None, *near], near, strict=False)]
    sent = acted[-1]
    planned_near, sent_near = sum(int(r["planned"]) for r in near), sum(acted)
    # Null only where nothing was sent, and then there is no lag to speak of.
    lag = float(row["send_lag_p99_ms"]) if row["sent"] else 0.0
    cpu, window_s = float(row["cpu"]), float(row["window_s"])
    if not_sent > 0:
        return f"{not_sent} arrivals were never sent"
    if not planned and row.get("streams") and rate_per_s * window_s >= _SURELY:
        return f"{row['streams']} streams planned nothing"
    if lag > rules.max_send_lag_p99_ms:
        return f"send lag p99 {lag:.2f} ms > {rules.max_send_lag_p99_ms:g} ms"
    if cpu > rules.max_cpu:
        return f"CPU {cpu:.2f} > {rules.max_cpu:g} of a core"
    # Arrivals planned at the very end of a window go out in the next one; that much, at the allowed
    # lag, is no shortfall.
    edge = math.ceil(planned * rules.max_send_lag_p99_ms / 1000.0 / max(window_s, 0.001)) + 1
    if (
        sent + edge < rules.min_achieved * planned
        and sent_near + edge < rules.min_achieved * planned_near
    ):
        return f"sent {sent} of {planned} planned"
    clock = row.get("clock_error_ms")
    if clock is not None and not _within(clock, rules.max_clock_error_ms):
        return f"clock error {clock!r} ms, allowed {rules.max_clock_error_ms:g} ms"
    return None


def _acted(row: Mapping[str, Any], before: Mapping[str, Any] | None) -> int:
    """How many requests a worker acted on in a row's time. One that says how many wait for a free
    connection acted on all others, whether or not the target took them: what a silent target holds
    up is no shortfall of ours.
    """
    if "waiting" not in row:
        return int(row["sent"]) + int(row.get("unreached", 0))
    waited = int(before.get("waiting", 0)) if before else 0
    return int(row["planned"]) - int(row["not_sent"]) - int(row["waiting"]) + waited


def own_failures(
    generator: Sequence[Mapping[str, Any]], timeline: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What the generator says of its own failures, by worker: nothing of a run in which its engine
    failed is believed, however short it was.
    """
    counts: dict[str, int] = {}
    for row in generator:
        if generator_problem(row) is None and row.get("engine_errors"):
            worker = str(row.get("worker"))
            counts[worker] = counts.get(worker, 0) + int(row["engine_errors"])
    said = [
        next((line for line in reversed(text.splitlines()) if line.strip()), "")[:200]
        for row in timeline
        if row.get("event") == Event.LOAD_ENGINE_ERROR and (text := str(row.get("traceback")))
    ]
    if said and not counts:
        return [f"generator failed: {said[0]}"]
    why = f": {said[0]}" if said else ""
    return [
        f"generator failed: the engine of {worker} {count:,} times{why}"
        for worker, count in sorted(counts.items())
    ]


def _within(value: Any, limit: float) -> bool:
    """Whether a number is known to be within a limit either way; NaN and words are not."""
    return isinstance(value, int | float) and abs(value) <= limit


def seconds_touched(spans: Sequence[tuple[int, int, str]], window: PhaseWindow) -> dict[int, str]:
    """Why, by each second since the window's begin that one of these spans touches."""
    found: dict[int, str] = {}
    for begin, end, why in spans:
        low, high = max(begin, window.begin_ns), min(end, window.end_ns)
        # A row's second and the window's are not aligned: a sliver of an overlap belongs to its
        # neighbour.
        first = (low - window.begin_ns + SECOND_NS // 2) // SECOND_NS
        last = (high - window.begin_ns + SECOND_NS // 2) // SECOND_NS
        for second in range(first, min(last, window.blocks)):
            found.setdefault(second, why)
    return found


@dataclass(frozen=True)
class GeneratorHealth:
    """Which seconds the generator was unfit in, and why. Times are CLOCK_MONOTONIC ns.

    `closed_loop`: some users paced themselves; `without_streams`: all of them did, so no rate was
    promised.
    """

    spans: tuple[tuple[int, int, str], ...]
    rows: int
    closed_loop: bool
    allowed_share: float
    lags: tuple[tuple[int, int, float], ...] = ()
    silences: tuple[tuple[int, int], ...] = ()
    without_streams: bool = False

    def lag_s(self, begin_ns: int, end_ns: int) -> float:
        """The latest that anything was sent after its intended start in this time; infinite if a
        worker did not say.
        """
        if not self.rows or any(low < end_ns and high > begin_ns for low, high in self.silences):
            return math.inf
        return max(
            (lag for low, high, lag in self.lags if low < end_ns and high > begin_ns),
            default=math.inf,
        )

    def bad_seconds(self, window: PhaseWindow) -> list[tuple[int, str]]:
        """(second since the window's begin, why) of every saturated second that touches a window;
        fractions of a second are left out.
        """
        return sorted(seconds_touched(self.spans, window).items())

    def verdict(self, windows: Sequence[PhaseWindow]) -> str | None:
        """Why these windows cannot be trusted, or None. One second is always allowed: a short phase
        has no share to spare.
        """
        if not self.rows:
            return "generator not observed: generator.ndjson has no rows"
        for window in windows:
            bad = self.bad_seconds(window)
            if len(bad) > max(1.0, self.allowed_share * window.duration_s):
                at, why = bad[0]
                share = f"{len(bad)} of {window.blocks} s"
                return (
                    f"generator saturated in {share} of {window.name} (allowed "
                    f"{self.allowed_share:.0%}), first at +{at} s: {why}"
                )
        return None


def health_of(
    rows: Sequence[Mapping[str, Any]],
    rules: Validity,
    begin_ns: int,
    end_ns: int,
    rate_per_s: float = 0.0,
) -> GeneratorHealth:
    """The health of all workers between begin and end. A second in which a worker wrote nothing
    counts as saturated, and one of which its rows do not speak. `rate_per_s`: of all together.
    """
    spans: list[tuple[int, int, str]] = []
    lags: list[tuple[int, int, float]] = []
    silences: list[tuple[int, int]] = []
    by_worker: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_worker.setdefault(str(row.get("worker")), []).append(row)
    paced = {id(row) for row in rows if row.get("model") == "closed"}
    each = rate_per_s / max(1, len(by_worker))
    for worker, mine in sorted(by_worker.items()):
        mine.sort(key=lambda row: int(row["at_ns"]))
        covered = min(begin_ns, int(mine[0]["at_ns"]))
        for i, row in enumerate(mine):
            at = int(row["at_ns"])
            begin = at - round(_window_s(row) * 1e9)
            if covered and begin - covered > (_GAP_NS if i else SECOND_NS):
                silences.append((covered, begin))
                spans.append((covered, begin, f"{worker} did not report"))
            lags.append((begin, at, _lag_s(row)))
            # Users that pace themselves wait for answers, whoever is slow; streams beside them do
            # not, and are held to their plan all the same.
            near = mine[max(0, i - _RECENT + 1) : i]
            why = None if id(row) in paced else saturation(row, rules, near, each)
            if why is not None:
                spans.append((begin, at, f"{worker}: {why}"))
            covered = max(covered, at)
        if end_ns - covered > SECOND_NS:
            silences.append((covered, end_ns))
            spans.append((covered, end_ns, f"{worker} did not report"))
    return GeneratorHealth(
        tuple(sorted(spans)),
        len(rows),
        bool(paced),
        rules.max_saturated_share,
        tuple(sorted(lags)),
        tuple(sorted(silences)),
        0 < len(paced) == len(rows),
    )


def _window_s(row: Mapping[str, Any]) -> float:
    """How much time a row speaks of; a second where it does not say."""
    try:
        return min(number(row, "window_s"), 3600.0) or 1.0
    except ValueError:
        return 1.0


def _lag_s(row: Mapping[str, Any]) -> float:
    """The row's greatest send lag in seconds; infinite where it says none although something was
    sent.
    """
    try:
        if number(row, "sent") == 0 and row.get("send_lag_max_ms") is None:
            return 0.0
        return number(row, "send_lag_max_ms") / 1000.0
    except ValueError:
        return math.inf
