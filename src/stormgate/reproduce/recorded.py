"""What a failed run's folder says was broken when, as a schedule for each of its trials: pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from stormgate.faults import backends
from stormgate.faults.errors import CannotBreak
from stormgate.model import Event, Fault, Finding, Judgement, Plan, Target, Verdict
from stormgate.reproduce.schedule import FidelityGap, Schedule, Segment, schedule_of

LOAD = "load"
"""Where a surge takes place: no component of the target's, but its users."""
SURGE = "surge"
_PARTITION = "partition "
_OURS = "stormgate.chaos."
# What these modes need to be played again; every other mode is whole by its name.
_NEEDED = {
    "slow": "latency_ms",
    "lossy": "share",
    "bandwidth": "rate_kb_per_s",
    SURGE: "factor",
}
# A fault that stood for less is not told from one that was taken back at once.
_SHORTEST_S = 0.05


class Folder(Protocol):
    """What is read of a run folder; `stormgate.evidence.read.Run` is one."""

    folder: Path
    plan_is_sealed: bool

    @property
    def plan(self) -> Plan | None: ...
    @property
    def timeline(self) -> list[dict[str, Any]]: ...
    @property
    def undo(self) -> list[dict[str, Any]]: ...
    @property
    def journals(self) -> dict[str, dict[str, Any]]: ...
    @property
    def problems(self) -> list[str]: ...


class NotReproducibleError(ValueError):
    """A folder that cannot be played again. `problems`: (where, what, fix), all of them."""

    def __init__(self, problems: Sequence[tuple[str, str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{where}: {what}; {fix}" for where, what, fix in problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial of a run: what it broke, in seconds from the first effect that was seen, and how
    long users were watched afterwards (s). `overlaps` stood when it began, `after_s` after the
    injection of that one.
    """

    name: str
    schedule: Schedule
    recovery_s: float
    overlaps: str | None = None
    after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A run as it can be played again: its plan, the objectives it failed, its trials in order.
    `lab_defect` was planted in its lab; `gaps` is what playing it does not show.
    """

    folder: Path
    plan: Plan
    failed: tuple[Finding, ...]
    trials: tuple[Trial, ...]
    lab_defect: str | None = None
    gaps: tuple[FidelityGap, ...] = field(default=())

    @property
    def places(self) -> tuple[str, ...]:
        """Every component and link that is broken, each once, in the order of the trials."""
        found = [s.where for one in self.trials for s in one.schedule.segments]
        return tuple(dict.fromkeys(where for where in found if where != LOAD))


def recorded(run: Folder, judgement: Judgement) -> Recorded:
    """What a folder holds for playing it again; `judgement` is its own. Raises
    NotReproducibleError: a run that did not fail, parts that are missing, faults whose doing
    nobody wrote down.
    """
    plan = run.plan
    problems = _missing(run, judgement)
    if plan is None or problems:
        raise NotReproducibleError(problems)
    trials: list[Trial] = []
    gaps: list[FidelityGap] = []
    params = _ledger_params(run.undo)
    for fault in plan.faults:
        rows = [row for row in run.timeline if row.get("fault") == fault.name]
        segments = list(_segments(fault, plan.target, rows, params, problems, gaps))
        gaps += _foreign(fault, run.journals.get(fault.name))
        if segments:
            made = schedule_of(segments, name=fault.name, known={one.mode for one in segments})
            trial = Trial(
                name=fault.name,
                schedule=made,
                recovery_s=fault.recovery_s,
                overlaps=fault.overlaps,
                after_s=_began_after_s(fault, run.timeline),
            )
            trials.append(trial)
            if fault.when is not None:
                why = f"it waited for {fault.when.func}; it comes in its place, or at its time"
                gaps.append(FidelityGap(what=fault.name, why=why, source="plan.json"))
        else:
            where = f"timeline.ndjson, fault {fault.name!r}"
            gaps.append(FidelityGap(what=fault.name, why="nothing was broken", source=where))
    if problems:
        raise NotReproducibleError(problems)
    failed = tuple(f for f in judgement.objectives if f.verdict is Verdict.FAIL)
    if plan.faults and not trials:
        told = "; ".join(f"{gap.what}: {gap.why}" for gap in gaps)
        raise NotReproducibleError(
            [("timeline.ndjson", f"it shows no fault to play again ({told})", "name another run")]
        )
    begin = next((row for row in run.timeline if row.get("event") == Event.RUN_BEGIN), {})
    defect = begin.get("lab_defect")
    return Recorded(
        folder=run.folder,
        plan=plan,
        failed=failed,
        trials=tuple(trials),
        lab_defect=defect if isinstance(defect, str) else None,
        gaps=tuple(gaps),
    )


def _began_after_s(fault: Fault, timeline: Sequence[Mapping[str, Any]]) -> float:
    """How long after the injection of the fault it overlaps this one began, as it went."""

    def first(name: str | None, *events: Event) -> int | None:
        rows = (r for r in timeline if r.get("fault") == name and r.get("event") in events)
        return min((int(row["at_ns"]) for row in rows), default=None)

    begun = first(fault.name, Event.CHAOS_TRIGGERED) or first(fault.name, Event.CHAOS_BEGIN)
    injected = first(fault.overlaps, Event.FAULT_REQUESTED)
    if fault.overlaps is None or begun is None or injected is None:
        return fault.after_s
    return round(max(0.0, (begun - injected) / 1e9), 2)


def _missing(run: Folder, judgement: Judgement) -> list[tuple[str, str, str]]:
    """Why nothing can be played again, part by part."""
    found = []
    plan, name = run.plan, str(run.folder)
    if plan is None:
        why = next((p for p in run.problems if p.startswith("plan.json")), "plan.json: missing")
        return [(name, why, "name a run folder: reports/<run>")]
    if not run.plan_is_sealed:
        what = "the plan is not as it was sealed"
        found.append((f"{name}/plan.json", what, "take the folder as the run left it"))
    if not run.timeline:
        what = "no timeline: nobody knows what was broken when"
        found.append((f"{name}/timeline.ndjson", what, "take the folder as the run left it"))
    bad = [p for p in run.problems if p.startswith(("timeline.ndjson", "undo.ndjson"))]
    found += [(name, one, "take the folder as the run left it") for one in bad if run.timeline]
    if found:
        return found
    if judgement.verdict is Verdict.PASS:
        what = "this run passed: there is nothing to reproduce"
        return [(name, what, "name a run that failed: stormgate runs")]
    if not any(f.verdict is Verdict.FAIL for f in judgement.objectives):
        what = f"the run is {judgement.verdict}, and no objective failed ({judgement.why})"
        return [(name, what, "name a run that failed: stormgate runs")]
    return []


def _ledger_params(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The parameters of each instance as the undo ledger has them (runs before timelines did)."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = row.get("entry")
        if row.get("step") != "intent" or not isinstance(entry, Mapping):
            continue
        record = entry.get("record")
        if not isinstance(record, Mapping):
            continue
        params = record.get("params")
        if entry.get("mode") == SURGE:
            params = {key: record.get(key) for key in ("factor", "population")}
        if isinstance(params, Mapping):
            found.setdefault(str(entry.get("instance")), dict(params))
    return found


def _segments(
    fault: Fault,
    target: Target,
    rows: Sequence[Mapping[str, Any]],
    params: Mapping[str, Mapping[str, Any]],
    problems: list[tuple[str, str, str]],
    gaps: list[FidelityGap],
) -> Iterator[Segment]:
    """What one trial broke, from when it was seen to act until it began to be taken back."""
    begun = {str(row.get("id")): row for row in rows if row.get("event") == Event.FAULT_REQUESTED}
    acted = _times(rows, Event.FAULT_OBSERVED)
    cleared = _times(rows, Event.FAULT_CLEARED)
    rollback = min(
        (int(row["at_ns"]) for row in rows if row.get("event") == Event.CHAOS_ROLLBACK),
        default=None,
    )
    origin = min((acted[one] for one in begun if one in acted), default=0)
    for instance, row in begun.items():
        component, mode = str(row.get("component")), str(row.get("mode"))
        name, place = f"{mode} {component}", f"timeline.ndjson, fault {fault.name!r}"
        if instance not in acted:
            why = "it was never seen to act, and taken back"
            gaps.append(FidelityGap(what=name, why=why, source=place))
            continue
        ends = [at for at in (cleared.get(instance), rollback) if at is not None]
        if not ends:
            problems.append((place, f"nobody says when {name} ended", "name a run that ended"))
            continue
        said = row.get("params")
        said = said if isinstance(said, Mapping) else params.get(instance, {})
        if lacking := needed(target, component, mode) - said.keys():
            told = f"nobody wrote down {', '.join(sorted(lacking))} of {name}"
            problems.append((place, told, "name a newer run"))
            continue
        first = Segment(
            start_s=(acted[instance] - origin) / 1e9,
            length_s=max(_SHORTEST_S, (min(ends) - acted[instance]) / 1e9),
            where=component,
            mode=mode,
            params={key: one for key, one in said.items() if one is not None},
            fault=name,
            source=place,
        )
        parts = row.get("parts")
        if component.startswith(_PARTITION) and isinstance(parts, list):
            yield from (replace(first, where=str(part)) for part in parts)
        else:
            yield first


def needed(target: Target, component: str, mode: str) -> set[str]:
    """The parameters without which a mode cannot be played again. A component's own backend says;
    what it does not offer is done to the links around it.
    """
    own = next((one for one in target.components if one.name == component), None)
    model = None
    with contextlib.suppress(CannotBreak):
        model = None if own is None else backends.modes_of(own).get(mode)
    if model is not None:
        return {name for name, one in model.model_fields.items() if one.is_required()}
    return {_NEEDED[mode]} if mode in _NEEDED else set()


def _times(rows: Iterable[Mapping[str, Any]], event: Event) -> dict[str, int]:
    return {str(row.get("id")): int(row["at_ns"]) for row in rows if row.get("event") == event}


def _foreign(fault: Fault, journal: Mapping[str, Any] | None) -> Iterator[FidelityGap]:
    """Actions of somebody else's in an experiment: they are in no timeline of ours."""
    place = f"journals/{fault.name}.json"
    if journal is None:
        why = "no journal: actions that are not ours would not be known"
        yield FidelityGap(what=fault.name, why=why, source=place)
        return
    experiment = journal.get("experiment")
    method = experiment.get("method") if isinstance(experiment, Mapping) else None
    for one in method if isinstance(method, list) else []:
        provider = one.get("provider") if isinstance(one, Mapping) else None
        if not isinstance(provider, Mapping) or one.get("type") != "action":
            continue
        if not str(provider.get("module", "")).startswith(_OURS):
            what = f"action {one.get('name')!r} of {fault.name}"
            yield FidelityGap(what=what, why="not an action of ours, not played", source=place)
