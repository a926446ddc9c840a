"""The report of a game day: which hypotheses held, which did not, which were not decided, and what
people did when, beside the system. Pure.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from stormgate.evidence.timeline import FaultWindow, fault_windows
from stormgate.model import Event, Fault, Finding, Judgement, Verdict
from stormgate.model.gameday import GameDay, GameStep
from stormgate.report.html.page import page
from stormgate.report.html.parts import chip, heading, table
from stormgate.report.words import amount, one_line

if TYPE_CHECKING:
    from stormgate.evidence.read import Run

Row = Mapping[str, Any]
_WORDS = ("detected", "mitigated")


class Belief(enum.Enum):
    """What became of a hypothesis."""

    HELD = "held"
    NOT_HELD = "did not hold"
    UNDECIDED = "was not decided"


_CHIPS = {
    Belief.HELD: Verdict.PASS,
    Belief.NOT_HELD: Verdict.FAIL,
    Belief.UNDECIDED: Verdict.INCONCLUSIVE,
}


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """One step: what became of its hypothesis, and why, in lines; `times` are seconds from the
    injection, by what happened (people and system), in order; `notes` with their second of the run.
    """

    step: GameStep
    belief: Belief
    why: tuple[str, ...]
    times: tuple[tuple[str, float], ...]
    notes: tuple[tuple[float, str], ...]


def outcomes(day: GameDay, judgement: Judgement, run: Run) -> list[StepOutcome]:
    """Each step of the day."""
    trials = [Fault(name=step.name, experiment="", recovery_s=0.0) for step in day.steps]
    windows = fault_windows(run.timeline, run.phases(), trials)
    return [
        _outcome(day, step, window, judgement, run.timeline)
        for step, window in zip(day.steps, windows, strict=True)
    ]


def _outcome(
    day: GameDay, step: GameStep, window: FaultWindow, judgement: Judgement, timeline: Sequence[Row]
) -> StepOutcome:
    found = [f for f in judgement.objectives if f.name.startswith(f"{step.name}/")]
    times = _times(step, window, timeline)
    people = list(_people(day, step, dict(times)))
    undecided = [*_unfit(step, window, timeline, found)]
    undecided += [_told(f) for f in found if f.verdict not in (Verdict.PASS, Verdict.FAIL)]
    undecided += [why for belief, why in people if belief is Belief.UNDECIDED]
    failed = [_told(f) for f in found if f.verdict is Verdict.FAIL]
    failed += [why for belief, why in people if belief is Belief.NOT_HELD]
    passed = [_told(f) for f in found if f.verdict is Verdict.PASS]
    passed += [why for belief, why in people if belief is Belief.HELD]
    if not (failed or passed or undecided):
        undecided = ["nothing was asked that could be measured: only people can say"]
    if _unfit(step, window, timeline, found):
        belief = Belief.UNDECIDED  # whatever users met, it was not what was believed of this step
    else:
        belief = Belief.NOT_HELD if failed else Belief.UNDECIDED if undecided else Belief.HELD
    start = int(timeline[0]["at_ns"]) if timeline else 0
    notes = [
        ((int(row["at_ns"]) - start) / 1e9, f"{row.get('by', '')}: {row.get('text', '')}")
        for row in timeline
        if row.get("event") == Event.GAMEDAY_NOTE and row.get("step") == step.name
    ]
    return StepOutcome(step, belief, (*failed, *undecided, *passed), times, tuple(notes))


def _unfit(
    step: GameStep, window: FaultWindow, timeline: Sequence[Row], found: Sequence[Finding]
) -> list[str]:
    """Why the step shows nothing at all."""
    asked = window.requested_ns
    answers = [
        str(row.get("answer"))
        for row in timeline
        if row.get("event") == Event.GAMEDAY_ANSWER and row.get("step") == step.name
    ]
    if asked is None:
        said = f": {answers[-1]}" if answers and answers[-1] != "go" else ""
        return [f"it was not tried{said}"]
    sealed = [
        row
        for row in timeline
        if row.get("event") == Event.GAMEDAY_STEP and row.get("step") == step.name
    ]
    problems = []
    if not any(int(r["at_ns"]) <= asked and r.get("digest") == step.digest for r in sealed):
        problems.append("what was believed was not sealed, as it stands here, before the injection")
    if window.doubt is not None:
        problems.append(window.doubt)
    asked_for = {*step.hypothesis.objectives, *(one.name for one in step.hypothesis.own)}
    missing = asked_for - {f.name.partition("/")[2] for f in found}
    if missing:
        problems.append(f"never judged: {', '.join(sorted(missing))}")
    return problems


def _times(
    step: GameStep, window: FaultWindow, timeline: Sequence[Row]
) -> tuple[tuple[str, float], ...]:
    if (asked := window.requested_ns) is None:
        return ()
    system = {
        "seen broken": window.observed_ns,
        "taken back": window.rollback_ns,
        "seen whole": window.cleared_ns,
    }
    found = [(name, (at - asked) / 1e9) for name, at in system.items() if at is not None]
    for word in _WORDS:
        said = [
            int(row["at_ns"])
            for row in timeline
            if row.get("event") == Event.GAMEDAY_NOTE
            and row.get("step") == step.name
            and str(row.get("text", "")).lower().split(":")[0].strip() == word
            and int(row["at_ns"]) >= asked
        ]
        if said:
            found.append((word, (min(said) - asked) / 1e9))
    return tuple(sorted(found, key=lambda one: one[1]))


def _people(
    day: GameDay, step: GameStep, times: Mapping[str, float]
) -> Iterable[tuple[Belief, str]]:
    limits = (step.hypothesis.detected_within_s, step.hypothesis.mitigated_within_s)
    for word, limit_s in zip(_WORDS, limits, strict=True):
        if limit_s is None:
            continue
        took_s = times.get(word)
        if took_s is None:
            why = "a rehearsal: nobody was asked" if day.rehearsal else "nobody noted it"
            yield Belief.UNDECIDED, f"{word} within {limit_s:g} s: {why}"
        elif took_s <= limit_s:
            yield Belief.HELD, f"{word} after {took_s:.1f} s, within {limit_s:g} s"
        else:
            yield Belief.NOT_HELD, f"{word} after {took_s:.1f} s, {limit_s:g} s allowed"


def _told(finding: Finding) -> str:
    name = finding.name.partition("/")[2]
    if finding.verdict is Verdict.PASS:
        bound = amount(finding.bound, finding.unit)
        return f"{name}: {bound}, allowed {amount(finding.limit, finding.unit)}"
    return f"{name}: {finding.why}"


def day_md(day: GameDay, judgement: Judgement, run: Run) -> str:
    """The report in Markdown."""
    found = outcomes(day, judgement, run)
    lines = [f"# Game day {_md(day.name)}{' (a rehearsal)' if day.rehearsal else ''}", ""]
    lines += [_sum(found), ""]
    if day.roles:
        lines += [", ".join(f"{_md(r)}: {_md(who)}" for r, who in day.roles.items()), ""]
    if judgement.verdict in (Verdict.ABORTED, Verdict.ERROR, Verdict.DIRTY):
        lines += [f"**The run was {judgement.verdict.value}: {_md(judgement.why)}**", ""]
    for one in found:
        lines += [f"## {_md(one.step.name)}: {one.belief.value}", ""]
        lines += [f"> {_md(one.step.hypothesis.says)}", ""]
        lines += [f"- {_md(why)}" for why in one.why]
        if one.times:
            told = ", ".join(f"{what} after {after:.1f} s" for what, after in one.times)
            lines += [f"- from the injection: {told}"]
        lines += [f"- at {at:.0f} s, {_md(text)}" for at, text in one.notes]
        lines += [f"- sealed as `{one.step.digest[:12]}`", ""]
    lines += ["What users met, second by second: report.html.", ""]
    return "\n".join(lines)


def day_html(day: GameDay, judgement: Judgement, run: Run) -> str:
    """The report as a page without a script."""
    found = outcomes(day, judgement, run)
    parts = [
        Markup("<h1>Game day {}</h1><p>{}</p>").format(one_line(day.name), _sum(found)),
        Markup('<p><a href="report.html">What users met, second by second</a></p>'),
    ]
    if judgement.verdict in (Verdict.ABORTED, Verdict.ERROR, Verdict.DIRTY):
        parts.append(Markup("<p>{} {}</p>").format(chip(judgement.verdict), judgement.why))
    if day.roles:
        roles = [(role, who) for role, who in day.roles.items()]
        parts.append(table([("role", ""), ("who", "")], roles))
    for one in found:
        parts.append(heading(one.step.name, f"step-{one.step.name}"))
        parts.append(Markup("<p>{} {}</p>").format(_chip(one.belief), one.step.hypothesis.says))
        rows = Markup("").join(Markup("<li>{}</li>").format(why) for why in one.why)
        parts.append(Markup("<ul>{}</ul>").format(rows))
        times = [(what, f"{after:.1f} s") for what, after in one.times]
        times += [(text, f"at {at:.0f} s") for at, text in one.notes]
        if times:
            parts.append(table([("what happened", ""), ("after the injection", "")], times))
        parts.append(Markup("<p>sealed as <code>{}</code></p>").format(one.step.digest))
    return page(f"game day {one_line(day.name)}", Markup("\n").join(parts))


def exit_code(found: Sequence[StepOutcome], judgement: Judgement) -> int:
    """0: every hypothesis held; 1: one did not; 3: one was not decided; else that of a run that was
    aborted, broke, or left something broken.
    """
    if judgement.verdict in (Verdict.ABORTED, Verdict.ERROR, Verdict.DIRTY):
        return judgement.verdict.exit_code
    beliefs = {one.belief for one in found}
    if Belief.NOT_HELD in beliefs:
        return Verdict.FAIL.exit_code
    held = beliefs == {Belief.HELD}
    return (Verdict.PASS if held else Verdict.INCONCLUSIVE).exit_code


def _sum(found: Sequence[StepOutcome]) -> str:
    counts = [(belief, sum(one.belief is belief for one in found)) for belief in Belief]
    told = ", ".join(f"{count} {belief.value}" for belief, count in counts if count)
    return f"Of {len(found)} hypotheses {told}."


def _chip(belief: Belief) -> Markup:
    return chip(_CHIPS[belief], belief.value)


def _md(text: str) -> str:
    return str(escape(one_line(text))).replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
