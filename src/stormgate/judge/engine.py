"""One pass over the evidence: every block of requests is shown to every objective, then validity,
Holm and waivers decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from stormgate.evidence.laws import RowLaws
from stormgate.evidence.samples import Block, Requests
from stormgate.evidence.timeline import PhaseWindow, Windows, fault_windows, select
from stormgate.judge.context import JudgeContext, RunLike, rows_in
from stormgate.judge.decide import apply_waivers, conclude, holm_across
from stormgate.judge.failures import Failures, late_ms
from stormgate.judge.histories.data import Data, data_of
from stormgate.judge.registry import Accumulator, JudgeTask, Kind, Result, kinds
from stormgate.judge.rules import validity as v
from stormgate.judge.rules.accounts import unrecorded
from stormgate.judge.rules.closed import unreconciled
from stormgate.judge.rules.due import Due
from stormgate.judge.rules.expected import held
from stormgate.judge.rules.exposure import Exposures
from stormgate.judge.rules.generator import health_of, own_failures
from stormgate.judge.rules.network import check_network
from stormgate.judge.rules.short import check_short
from stormgate.judge.rules.starved import starvation_of
from stormgate.judge.rules.visits import Visits
from stormgate.judge.rules.workload import check_workload
from stormgate.model import Event, Finding, Judgement, Objective, Plan, Verdict


def judge_run(run: RunLike, plan: Plan | None = None) -> Judgement:
    """See `stormgate.judge.judge`."""
    against = plan or run.plan
    if against is None:
        nothing = v.check_plan(run)
        return Judgement(
            gate="",
            verdict=Verdict.INCONCLUSIVE,
            exit_code=3,
            plan_digest="",
            objectives=(),
            validity=(nothing,),
            why=nothing.why,
        )
    phases = run.phases()
    faults = fault_windows(run.timeline, phases, against.faults)
    measured = _measured(phases, against)
    begin = min((w.begin_ns for w in measured.windows), default=0)
    end = max((w.end_ns for w in measured.windows), default=0)
    due = Due(against, run.timeline)
    lowest = due.lowest_per_s(begin, end)
    health = health_of(run.generator, against.validity, begin, end, lowest)
    data = _data(run, against.objectives)
    machine = starvation_of(run.machine, against)
    context = JudgeContext(against, phases, faults, health, run.readings, data, run.traces, machine)
    seats = [_seat_or_refusal(objective, context) for objective in against.objectives]
    arrivals = dict.fromkeys((w.name for w in measured.windows), 0)
    stream = Requests(run.batches(), RowLaws(*_span(run)))
    everything = select([p.name for p in phases], phases, against.faults)
    visits, failures = Visits(everything), Failures(everything, late_ms(against))
    exposures = Exposures(against, faults)
    for block in stream:
        visits.add(block)
        failures.add(block)
        exposures.add(block)
        _count_arrivals(block, measured, arrivals)
        for _, accumulator in seats:
            accumulator.add(block)
    results = [_finish(kind, accumulator, context) for kind, accumulator in seats]
    results = [
        result
        if kind is None
        else held(result, kind, kind.spec_model.model_validate(o.spec), against, visits)
        for result, (kind, _), o in zip(results, seats, against.objectives, strict=True)
    ]
    findings = apply_waivers(holm_across(results, 1.0 - against.confidence), against)
    timed = [
        w
        for kind, accumulator in seats
        if kind is not None and kind.timing
        for w in _windows_of(accumulator, context)
    ]
    failed = any(f.verdict is Verdict.FAIL for f in findings)
    checks = _validity(run, context, measured, stream, arrivals, timed, failed=failed)
    checks.append(exposures.finding())
    allowed = against.validity.max_flow_errors
    unvisited = [] if health.without_streams else visits.problems(against, due)
    checks.append(check_workload(run.generator, run.timeline, allowed, unvisited))
    judgement = conclude(against, findings, checks)
    decisive = {
        phase
        for f, (_, accumulator) in zip(judgement.objectives, seats, strict=True)
        if f.verdict is Verdict.FAIL
        for window in _windows_of(accumulator, context)
        for phase in window.phases
    }
    told = failures.told(run.timeline, _span(run)[0] or begin, decisive)
    return replace(judgement, failures=told)


def judge_objective(run: RunLike, plan: Plan, objective: Objective) -> Finding:
    """The finding of one objective over a run by the very path of `judge_run`, without validity,
    Holm and waivers.
    """
    phases = run.phases()
    measured = _measured(phases, plan)
    begin = min((w.begin_ns for w in measured.windows), default=0)
    end = max((w.end_ns for w in measured.windows), default=0)
    lowest = Due(plan, run.timeline).lowest_per_s(begin, end)
    health = health_of(run.generator, plan.validity, begin, end, lowest)
    faults = fault_windows(run.timeline, phases, plan.faults)
    data = _data(run, [objective])
    machine = starvation_of(run.machine, plan)
    context = JudgeContext(plan, phases, faults, health, run.readings, data, run.traces, machine)
    kind, accumulator = _seat(objective, context)
    for block in Requests(run.batches()):
        accumulator.add(block)
    return _finish(kind, accumulator, context).finding


def _data(run: RunLike, objectives: Sequence[Objective]) -> Data | None:
    """The data evidence, where an objective asks for it."""
    known = kinds()
    if not any(o.kind in known and known[o.kind].data for o in objectives):
        return None
    return data_of(run, *_span(run))


def _seat(objective: Objective, context: JudgeContext) -> tuple[Kind, Accumulator]:
    kind = kinds()[objective.kind]
    task = JudgeTask(objective, kind.spec_model.model_validate(objective.spec), context)
    return kind, kind.judge(task)


class _Refused:
    """Stands in for an objective that cannot be judged: of no known kind, or not fitting it."""

    def __init__(self, objective: Objective, context: JudgeContext, why: str) -> None:
        self._task = JudgeTask(objective, None, context)
        self._why = why

    def add(self, block: Block) -> None:
        """Nothing to count."""

    def finish(self) -> Result:
        return Result(self._task.finding(Verdict.INCONCLUSIVE, self._why))


def _seat_or_refusal(
    objective: Objective, context: JudgeContext
) -> tuple[Kind | None, Accumulator]:
    """As `_seat`; what a folder of somebody else's asks for and nobody knows is INCONCLUSIVE by
    name.
    """
    if objective.kind not in kinds():
        known = ", ".join(sorted(kinds()))
        return None, _Refused(
            objective, context, f"kind {objective.kind[:60]!r} is not one of {known}"
        )
    try:
        return _seat(objective, context)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(str(part) for part in wrong["loc"])
        return None, _Refused(
            objective, context, f"spec of {objective.kind}: {place}: {wrong['msg']}"
        )


def _span(run: RunLike) -> tuple[int | None, int | None]:
    """When the run began and ended, ns; None where its timeline does not say."""
    at = {str(row.get("event")): int(row["at_ns"]) for row in run.timeline}
    return at.get(Event.RUN_BEGIN), at.get(Event.RUN_END)


def _measured(phases: Sequence[Any], plan: Plan) -> Windows:
    """All phases but the warmup, complete or not: what the generator and the load are held to."""
    return select([p.name for p in phases if p.name != "warmup"], phases, plan.faults)


def _count_arrivals(block: Block, measured: Windows, arrivals: dict[str, int]) -> None:
    if not measured.windows:
        return
    rows, seconds = rows_in(block, measured)
    if not len(rows):
        return
    starts = np.array([w.first_block for w in measured.windows])
    which = np.searchsorted(starts, seconds, side="right") - 1
    for window, count in zip(
        measured.windows, np.bincount(which, minlength=len(starts)).tolist(), strict=True
    ):
        # Where faults overlap, a phase may come in several pieces of one name.
        arrivals[window.name] += count


def _finish(kind: Kind | None, accumulator: Accumulator, context: JudgeContext) -> Result:
    result = accumulator.finish()
    if kind is None or not kind.timing:
        return result
    windows = _windows_of(accumulator, context)
    why = context.health.verdict(windows)
    if why is None and result.finding.verdict is Verdict.FAIL:
        why = context.machine.excuse(windows)
    if why is None:
        return result
    finding = result.finding
    detail = {**finding.detail, "without_the_veto": finding.verdict.value}
    return Result(replace(finding, verdict=Verdict.INCONCLUSIVE, why=why, detail=detail))


def _windows_of(accumulator: Accumulator, context: JudgeContext) -> Sequence[PhaseWindow]:
    """The windows an objective rests on; a kind without phases rests on all phases of the
    faults.
    """
    for holder in (accumulator, getattr(accumulator, "test", None)):
        windows = getattr(holder, "windows", None)
        if isinstance(windows, Windows):
            return windows.windows
    return context.windows(["fault", "recovery"]).windows


def _validity(
    run: RunLike,
    context: JudgeContext,
    measured: Windows,
    stream: Requests,
    arrivals: dict[str, int],
    timed: Sequence[PhaseWindow],
    *,
    failed: bool,
) -> list[Finding]:
    plan, faults, health = context.plan, context.faults, context.health
    # Files are read when first asked for: what is wrong with one counts, whoever asks last.
    _ = (run.undo, run.journals, run.readings, run.traces, run.machine)
    problems = [*run.problems, *stream.problems, *stream.laws.problems()]
    own = own_failures(run.generator, run.timeline)
    problems += unrecorded(run.generator, stream.laws.firsts)
    problems += unreconciled(run.generator, stream.rows, stream.laws.failed)
    phases = {p.name: p for p in run.phases()}
    cut = [f"phase {p.name} never ended" for p in phases.values() if p.end_ns is None]
    checks = [
        v.check_plan(run),
        v.check_course(run, plan, faults, failed=failed),
        v.check_undo(run, faults),
        v.check_faults(faults, plan),
        v.check_journals(run, plan, faults),
        v.check_generator(health, measured.windows, timed, own),
        v.check_samples(
            run, stream.rows, [*problems, *cut, *v.sealed_problems(getattr(run, "folder", None))]
        ),
    ]
    if not health.without_streams:
        checks.append(v.check_load(plan, measured, arrivals, Due(plan, run.timeline)))
    network = check_network(run.timeline)
    said = [one for one in (check_short(plan), network) if one is not None]
    return [*said, *checks]
