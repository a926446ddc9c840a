"""This run against earlier ones of its gate: what is new, what is resolved, what goes on, and how
each figure moved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from stormgate.evidence.past import PastRun
from stormgate.model import Finding, Judgement, Verdict
from stormgate.report.charts.trend import trend
from stormgate.report.html.parts import chip, figures, heading, slug, table
from stormgate.report.words import DASH, amount, one_line, verdict_word

SHOWN = 20


def earlier_section(judgement: Judgement, past: Sequence[PastRun], name: str) -> Markup:
    """`past` are earlier runs of the gate, the oldest first; `name` is this run's folder. Empty
    where there are none.
    """
    past = [run for run in past if run.judgement is not None][-(SHOWN - 1) :]
    if not past:
        return Markup("")
    before = past[-1]
    passed = next((run for run in reversed(past) if run.passed), None)
    rows = []
    for finding in judgement.objectives:
        then = passed.finding(finding.name) if passed is not None else None
        state, told = _state(finding, before.finding(finding.name))
        rows.append(
            (
                Markup("<b>{}</b> <small>{}</small>").format(state, told),
                Markup('<a href="#objective-{}">{}</a>').format(
                    slug(finding.name), one_line(finding.name)
                ),
                chip(finding.verdict, verdict_word(finding)),
                amount(finding.value, finding.unit),
                amount(then.value, then.unit) if then is not None else DASH,
                _difference(finding, then),
            )
        )
    head = [("State", "word"), ("Objective", "name"), ("Now", "")]
    head += [(t, "number") for t in ("Value", "When it last passed", "Difference")]
    gone = [
        one_line(f.name)
        for f in (before.judgement.objectives if before.judgement is not None else ())
        if f.name not in {g.name for g in judgement.objectives}
    ]
    against = "no run of this gate has passed before"
    if passed is not None:
        against = f"the last that passed is {one_line(passed.name)}"
        against += f" ({one_line(passed.release)})" if passed.release else ""
    more = f" No longer asked: {', '.join(gone)}." if gone else ""
    return Markup('{}<p class="soft"><small>{}</small></p>{}{}').format(
        heading("Against earlier runs of this gate", "earlier"),
        f"State: against the run before this one, {one_line(before.name)}; {against}.{more}",
        table(head, rows),
        _trends(judgement, past, name),
    )


def _state(now: Finding, then: Finding | None) -> tuple[str, str]:
    """Whether a finding is new, resolved, ongoing or fine, and a word about it."""
    bad_now = now.verdict is not Verdict.PASS
    if then is None:
        return ("New", "not asked before") if bad_now else ("Fine", "not asked before")
    bad_then = then.verdict is not Verdict.PASS
    if bad_now and bad_then:
        same = now.verdict is then.verdict
        return "Ongoing", "" if same else f"was {then.verdict}"
    if bad_now:
        return "New", ""
    return ("Resolved", f"was {then.verdict}") if bad_then else ("Fine", "")


def _difference(now: Finding, then: Finding | None) -> str:
    if then is None or now.value is None or then.value is None or now.unit != then.unit:
        return DASH
    change = now.value - then.value
    if not math.isfinite(change):
        return DASH
    sign = "+" if change >= 0 else "-"
    if now.unit == "share":
        # Small against one, where the way a share is shown would round it away.
        return f"{sign}{abs(change) * 100:.4f} %"
    return f"{sign}{amount(float(f'{abs(change):.3g}'), now.unit)}"


def _trends(judgement: Judgement, past: Sequence[PastRun], name: str) -> Markup:
    shown = []
    for finding in judgement.objectives:
        runs: list[tuple[str, Finding]] = [
            (run.name, found)
            for run in past
            if (found := run.finding(finding.name)) is not None and found.unit == finding.unit
        ]
        runs.append((name, finding))
        known = [f for _, f in runs if f.value is not None and math.isfinite(f.value)]
        if len(runs) < 2 or not known:
            continue
        head = [("Run", ""), ("Verdict", ""), ("Value", ""), ("Bound", ""), ("Limit", "")]
        rows = [
            (
                one_line(run),
                f.verdict.value,
                *(amount(v, f.unit) for v in (f.value, f.bound, f.limit)),
            )
            for run, f in runs
        ]
        shown.append(
            Markup("<figure><figcaption><b>{}</b> {} runs</figcaption>{}{}</figure>").format(
                one_line(finding.name),
                len(runs),
                trend(one_line(finding.name), [f for _, f in runs]),
                figures(f"{one_line(finding.name)}, run by run", head, rows),
            )
        )
    if not shown:
        return Markup("")
    return Markup(
        '<div class="distributions trends">{}</div><p class="soft"><small>The last runs from left '
        "to right, this one last: a dot at the value, a line up to the bound, a mark for what was "
        "not a PASS, the limit dashed.</small></p>"
    ).format(Markup("").join(shown))
