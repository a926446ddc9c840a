"""The worst moment of a recorded run, and the schedule that stops there: pure but for reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stormgate.judge.registry import kinds
from stormgate.model import Event, Objective
from stormgate.reproduce.recorded import Trial
from stormgate.reproduce.schedule import Schedule, schedule_of

SECOND_NS = 1_000_000_000


class Evidence(Protocol):
    """What is read of a run folder; `stormgate.evidence.read.Run` is one."""

    @property
    def timeline(self) -> list[dict[str, Any]]: ...
    def batches(self) -> Iterator[tuple[str, Any]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstMoment:
    """Seconds into a trial, from its first effect, and what share of the requests of that second
    was bad.
    """

    trial: str
    second_s: float
    bad: float


def worst_moment(
    run: Evidence, trials: tuple[Trial, ...], objective: Objective
) -> WorstMoment | None:
    """The second of all trials with the largest share of bad requests, of those the objective looks
    at: not answered well, or later than it allows. None where no request was bad while a fault
    stood.
    """
    begun = {one.name: _first_effect(run, one.name) for one in trials}
    spec = objective.spec
    late_ms = kinds()[objective.kind].good_within_ms(spec) or spec.get("lte_ms")
    where = spec.get("where") or {}
    counts = {one.name: np.zeros((2, int(one.schedule.length_s) + 1)) for one in trials}
    for _, batch in run.batches():
        intended, bad = _requests(batch, late_ms, where)
        for one in trials:
            origin = begun[one.name]
            if origin is None:
                continue
            second = (intended - origin) // SECOND_NS
            inside = (second >= 0) & (second < counts[one.name].shape[1])
            np.add.at(counts[one.name][0], second[inside], 1)
            np.add.at(counts[one.name][1], second[inside & bad], 1)
    found = None
    for name, (asked, bad_ones) in counts.items():
        share = np.divide(bad_ones, asked, out=np.zeros_like(asked), where=asked > 0)
        if share.size and (best := int(share.argmax())) >= 0 and share[best] > 0:
            moment = WorstMoment(trial=name, second_s=best + 0.5, bad=float(share[best]))
            found = moment if found is None or moment.bad > found.bad else found
    return found


def _first_effect(run: Evidence, fault: str) -> int | None:
    return min(
        (
            int(row["at_ns"])
            for row in run.timeline
            if row.get("event") == Event.FAULT_OBSERVED and row.get("fault") == fault
        ),
        default=None,
    )


def _requests(
    batch: Any, late_ms: float | None, where: Mapping[str, Any]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """When the attempts of a block that are looked at should have begun, and which were bad."""
    import pyarrow.compute as pc

    for column, wanted in where.items():
        if column in batch.schema.names:
            values = batch.column(column).cast("string")
            batch = batch.filter(pc.is_in(values, value_set=_strings(wanted)))
    intended = batch.column("intended_ns").to_numpy()
    done = batch.column("done_ns").to_numpy()
    ok = pc.equal(batch.column("outcome").cast("string"), "ok").to_numpy(zero_copy_only=False)
    bad = ~ok
    if late_ms is not None:
        bad = bad | (done - intended > late_ms * 1e6)
    return intended, bad


def _strings(wanted: Any) -> Any:
    import pyarrow as pa

    listed = wanted if isinstance(wanted, list | tuple) else [wanted]
    return pa.array([str(one) for one in listed])


def stopped_at(trial: Trial, second_s: float, hold_s: float) -> Trial:
    """The trial up to that second, and what stands then for `hold_s` more: what was over is left
    out, what had not begun never does. Where nothing stands then, what stood last does.
    """
    segments = trial.schedule.segments
    standing = [one for one in segments if one.at(second_s)]
    if not standing:
        before = [one for one in segments if one.end_s <= second_s] or list(segments)
        last_s = max(one.end_s for one in before)
        standing = [one for one in before if one.end_s == last_s]
    begin_s = min(one.start_s for one in standing)
    end_s = max([second_s, *(one.start_s for one in standing)]) + hold_s
    kept = [
        replace(one, start_s=one.start_s - begin_s, length_s=end_s - one.start_s)
        for one in standing
    ]
    made: Schedule = schedule_of(kept, name=trial.name, known={one.mode for one in kept})
    return replace(trial, schedule=made)
