"""Can this run be trusted at all? One finding per question; they take part in the verdict like
objectives.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stormgate.evidence.laws import number
from stormgate.evidence.manifest import check_manifest, is_sealed
from stormgate.evidence.timeline import FaultWindow, PhaseWindow, Windows
from stormgate.evidence.undo import intents, open_intents
from stormgate.judge.context import RunLike
from stormgate.judge.rules.due import Due
from stormgate.judge.rules.generator import GeneratorHealth
from stormgate.judge.rules.overlaps import not_together
from stormgate.judge.rules.phases import TICK_S, absent_phases, misplaced_phases
from stormgate.model import Event, Finding, Plan, Verdict, plan_digest, worst


def finding(
    name: str,
    problems: Sequence[str],
    bad: Verdict = Verdict.INCONCLUSIVE,
    ok: str = "",
    **fields: Any,
) -> Finding:
    """A validity finding: PASS without problems, else `bad`, led by the first problem."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Finding(
        name=name,
        kind="validity",
        verdict=bad if problems else Verdict.PASS,
        value=None,
        bound=None,
        limit=None,
        unit="",
        samples=fields.pop("samples", 0),
        why=f"{problems[0]}{more}" if problems else ok,
        detail={**({"problems": list(problems)[:50]} if problems else {}), **fields},
    )


def check_plan(run: RunLike) -> Finding:
    """plan.json is there and is the plan it says it is."""
    plan = run.plan
    if plan is None:
        said = [p for p in run.problems if p.startswith("plan.json")]
        return finding("plan", said or ["plan.json is missing or no plan"])
    # A folder knows whether what is on disk is sealed; a run in memory has only the plan itself.
    sealed = getattr(run, "plan_is_sealed", None)
    if not (plan.digest == plan_digest(plan) if sealed is None else sealed):
        return finding(
            "plan", ["plan.json was changed after it was sealed: its digest does not match"]
        )
    return finding("plan", [], ok=f"digest {plan.digest[:12]}")


def check_course(
    run: RunLike, plan: Plan, faults: Sequence[FaultWindow] = (), *, failed: bool = True
) -> Finding:
    """The run went to its end by itself: no abort, no error of the harness, no sudden death, no
    phase shorter than planned without a word, none elsewhere than planned. `failed`: some
    objective did, which is what a run that ended early says.
    """
    aborts = [
        str(r.get("why") or "no reason given")
        for r in run.timeline
        if r.get("event") == Event.ABORT
    ]
    errors = [
        str(r.get("why") or "no reason given")
        for r in run.timeline
        if r.get("event") == Event.ERROR
    ]
    if aborts:
        return finding("course", [f"aborted: {why}" for why in aborts], Verdict.ABORTED)
    if errors:
        return finding("course", [f"harness error: {why}" for why in errors], Verdict.ERROR)
    events = {str(r.get("event")) for r in run.timeline}
    missing = [e.value for e in (Event.RUN_BEGIN, Event.RUN_END) if e not in events]
    problems = [f"the timeline has no {e}: the run died, or its record is cut" for e in missing]
    marks = Counter(
        (str(r.get("event")), str(r.get("phase")))
        for r in run.timeline
        if r.get("event") in (Event.PHASE_BEGIN, Event.PHASE_END)
    )
    problems += [f"{event} of {phase} {n} times" for (event, phase), n in marks.items() if n > 1]
    if Event.RUN_CERTAIN not in events:
        problems += short_phases(run, plan)
        problems += absent_phases(run.phases(), plan)
    elif not failed:
        problems.append("ended early, certain to FAIL, and nothing failed")
    problems += misplaced_phases(run.phases(), faults, plan)
    return finding("course", problems, ok="ran to its end")


def short_phases(run: RunLike, plan: Plan) -> list[str]:
    """Phases of a fixed length that lasted less than planned, beyond a tick of the supervisor."""
    planned = {"warmup": plan.warmup_s, "steady": plan.steady_s, "final": plan.final_s}
    planned |= {f"recovery[{fault.name}]": fault.recovery_s for fault in plan.faults}
    found = []
    for phase in run.phases():
        wanted = planned.get(phase.name)
        if wanted is None or phase.end_ns is None:
            continue
        lasted_s = (phase.end_ns - phase.begin_ns) / 1e9
        if lasted_s < wanted - TICK_S:
            found.append(f"{phase.name} lasted {lasted_s:.1f} s of the {wanted:g} s planned")
    return found


def check_undo(run: RunLike, faults: Sequence[FaultWindow]) -> Finding:
    """Everything that was broken was taken back, and seen to be: else DIRTY, whatever else
    holds.
    """
    problems = [
        f"{f.name}: undo failed: {f.undo_failed}" for f in faults if f.undo_failed is not None
    ]
    problems += [
        f"{f.name}: {part or 'fault'} was never seen cleared"
        for f in faults
        for part in f.open_ids
        if f.undo_failed is None
    ]
    known = {f.name for f in faults}
    stray = [
        r
        for r in run.timeline
        if r.get("event") == Event.FAULT_UNDO_FAILED and str(r.get("fault")) not in known
    ]
    problems += [f"undo failed: {r.get('why') or r.get('component')}" for r in stray]
    problems += [f"undo.ndjson: {name} is still open" for name in open_intents(run.undo)]
    if not problems and (unknown := unintended(run)):
        return finding("undo", unknown)
    return finding(
        "undo",
        problems,
        Verdict.DIRTY,
        ok=f"{len(faults)} faults taken back" if faults else "nothing was broken",
    )


def unintended(run: RunLike) -> list[str]:
    """What was broken or undone without an intent in the ledger: whether it was all taken back
    cannot be verified.
    """
    asked = {
        (str(r.get("fault")), str(r.get("id")))
        for r in run.timeline
        if r.get("event") == Event.FAULT_REQUESTED
    }
    meant = set(intents(run.undo))
    if asked and not meant:
        return [
            "undo.ndjson holds no intent, but a fault was requested: what was broken cannot be "
            "verified"
        ]
    others = {str(r.get("id")) for r in run.undo if r.get("step") not in ("intent", "target")}
    found = [f"undo.ndjson: {name} has no intent" for name in sorted(others - meant)]
    # Each thing that was broken has at least one entry of its own.
    if len(meant) < len(asked):
        found.append(
            f"undo.ndjson holds {len(meant)} intents, but {len(asked)} faults were requested"
        )
    return found


def check_faults(faults: Sequence[FaultWindow], plan: Plan | None = None) -> Finding:
    """Every fault of the plan was requested, acknowledged, proven by an independent observation,
    and held until it was taken back; those that were to stand together did.
    """
    problems = []
    for f in faults:
        if f.never is not None:
            problems.append(f"{f.name}: nothing was broken: {f.never}")
        elif f.requested_ns is None:
            problems.append(f"{f.name}: fault not requested")
        elif f.unproven is not None:
            problems.append(f"{f.name}: fault not observed: {f.unproven}")
        elif f.unacknowledged_ids:
            problems.append(f"{f.name}: fault not acknowledged: {', '.join(f.unacknowledged_ids)}")
        elif f.escaped is not None:
            problems.append(f"{f.name}: {f.escaped}")
        elif not f.proven:
            problems.append(
                f"{f.name}: fault not observed: {', '.join(f.unobserved_ids) or 'no proof'}"
            )
    if plan is not None:
        problems += not_together(faults, plan)
    return finding(
        "faults",
        problems,
        samples=len(faults),
        ok=f"{len(faults)} faults requested, acknowledged, observed"
        if faults
        else "no fault planned",
    )


def check_journals(run: RunLike, plan: Plan, faults: Sequence[FaultWindow] = ()) -> Finding:
    """Chaos Toolkit's journals are there and clean, each activity looked at; its status and exit
    code are never evidence.
    """
    from stormgate.judge.journal import JournalProblem
    from stormgate.judge.journal import problems as journal_problems

    journals, found = run.journals, []
    # A trial that broke nothing, and says why, is a matter of the faults.
    never = {window.name for window in faults if window.never is not None}
    for f in plan.faults:
        if f.name in never:
            continue
        file = f"journals/{f.name}.json"
        unread = [p for p in run.problems if p.startswith(f"{file}:")]
        if unread and f.name not in journals:
            # There is one, and it says nothing: that is no failure of the harness.
            found.append((f.name, JournalProblem(Verdict.INCONCLUSIVE, unread[0])))
        else:
            found += [(f.name, problem) for problem in journal_problems(journals.get(f.name))]
    severity = worst([problem.severity for _, problem in found])
    told = [
        f"{name}: {problem.why}"
        for name, problem in sorted(found, key=lambda p: -p[1].severity.severity)
    ]
    return finding(
        "journals",
        told,
        severity,
        ok=f"{len(plan.faults)} clean" if plan.faults else "no fault planned",
    )


def check_generator(
    health: GeneratorHealth,
    windows: Sequence[PhaseWindow],
    timed: Sequence[PhaseWindow],
    failures: Sequence[str] = (),
) -> Finding:
    """The generator was fit in every phase that an objective rests its timing on; what happened in
    the others is told beside. `failures`: what it says of its own, in whatever phase.
    """
    why = health.verdict(list(dict.fromkeys(replace(w, first_block=0) for w in timed)))
    seconds: dict[str, list[float]] = {}
    reasons: dict[str, str] = {}
    for window in windows:
        if bad := health.bad_seconds(window):
            seconds.setdefault(window.name, []).extend(s for s, _ in bad)
            reasons.setdefault(window.name, bad[0][1])
    fields: dict[str, Any] = {"saturated_s": seconds, "reasons": reasons} if seconds else {}
    problems = [*failures, *([why] if why else [])]
    return finding("generator", problems, ok="kept to its plan", **fields)


def check_samples(run: RunLike, rows: Mapping[str, int], broken: Sequence[str]) -> Finding:
    """All that the workers recorded is here: their last rows, the counts they reported, no worker
    lost, no file torn.
    """
    problems = [
        f"generator lost: {r.get('worker')}: {r.get('why')}"
        for r in run.timeline
        if r.get("event") == Event.LOAD_LOST
    ]
    last: dict[str, Mapping[str, Any]] = {}
    finals: set[str] = set()
    for row in run.generator:
        worker = str(row.get("worker"))
        if worker not in last or _rows_told(row) >= _rows_told(last[worker]):
            last[worker] = row
        if row.get("final"):
            finals.add(worker)
    for worker in sorted(last):
        if worker not in finals:
            problems.append(f"generator lost: {worker} never wrote its final row")
        wrote, read = _rows_told(last[worker]), rows.get(worker, 0)
        if wrote != read:
            problems.append(f"samples of {worker}: {read:,} rows read, {wrote:,} written")
    problems += [
        f"samples of {worker}: a worker that generator.ndjson does not know"
        for worker in sorted(set(rows) - set(last))
    ]
    if not rows:
        problems.append("no samples at all")
    problems += [p for p in broken if p not in problems]
    return finding(
        "samples", problems, ok="every worker's last block is here", samples=sum(rows.values())
    )


def _rows_told(row: Mapping[str, Any]) -> int:
    """How many rows a worker says it wrote; 0 where it says no number, which is named elsewhere."""
    try:
        return int(number(row, "rows"))
    except ValueError:
        return 0


def sealed_problems(folder: Path | None) -> list[str]:
    """Evidence that is not what manifest.json sealed: gone, changed, added; none without a
    manifest, which is written last.
    """
    return check_manifest(folder) if folder is not None and is_sealed(folder) else []


def check_load(
    plan: Plan, windows: Windows, arrivals: Mapping[str, int], due: Due | None = None
) -> Finding:
    """In every judged phase about as many requests were planned as the plan says (or the shape that
    it schedules), beyond what a Poisson stream leaves to chance.
    """
    due = due or Due(plan, ())
    problems: list[str] = []
    seen: dict[str, Any] = {}
    if due.unknown:
        problems.append(
            f"what the shape {plan.load.shape} planned is not known: neither the plan has its "
            "schedule nor the timeline its orders"
        )
    planned: dict[str, float] = {}
    for window in windows.windows:
        due_here = due.between(window.begin_ns, window.end_ns)
        planned[window.name] = planned.get(window.name, 0.0) + due_here
    for name, expected in planned.items():
        got = arrivals.get(name, 0)
        seen[name] = {"expected": expected, "planned": got}
        if got < plan.validity.min_achieved * expected - 4.0 * math.sqrt(expected):
            problems.append(
                f"generator planned {got:,} requests in {name}, the plan says {expected:,.0f}"
            )
    return finding("load", problems, ok="as planned", phases=seen)
