"""What was judged: the objectives with their bars, how requests failed, the cells, and whether the
measurement can be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from stormgate.judge.registry import kinds
from stormgate.model import Cell, Finding, Judgement, Verdict
from stormgate.report.charts.bullet import bullet
from stormgate.report.charts.multiples import interval, stages_bar
from stormgate.report.charts.timeline import Span
from stormgate.report.html.parts import chip, heading, slug, table
from stormgate.report.html.proofs import proofs
from stormgate.report.words import (
    amount,
    count,
    failure_servers,
    failure_times,
    one_line,
    percent,
    spare,
    spared,
    untried,
    verdict_word,
    worst_first,
)

MAX_CELLS = 400
FEW_CELLS = 24

FINDING_HEAD = [
    ("Verdict", ""),
    ("Name", "name"),
    ("Value", "number"),
    ("Bound", "number"),
    ("Limit", "number"),
    ("Samples", "number"),
    ("Why", "why"),
]
OBJECTIVE_HEAD = [*FINDING_HEAD[:2], ("Against its limit", "bar"), *FINDING_HEAD[2:]]


def _finding_row(f: Finding) -> Sequence[Any]:
    source = f" · {one_line(f.source)}" if f.source else ""
    name = Markup("{}<small>{}{}</small>").format(one_line(f.name), one_line(f.kind), source)
    why = (
        Markup("{}<br><small>waived: {}</small>").format(one_line(f.why), one_line(f.waived))
        if f.waived
        else one_line(f.why)
    )
    figures = (
        amount(f.value, f.unit),
        amount(f.bound, f.unit),
        amount(f.limit, f.unit),
        count(f.samples),
    )
    return (chip(f.verdict, verdict_word(f)), name, *figures, why)


def objectives(judgement: Judgement) -> Markup:
    """A line per objective, with its bar."""
    if not judgement.objectives:
        return Markup("{}<p>No objective was judged.</p>").format(
            heading("Objectives", "objectives")
        )
    rows = []
    for f in judgement.objectives:
        verdict, name, *rest = _finding_row(f)
        linked = Markup('<a id="objective-{0}" href="#{1}">{2}</a>').format(
            slug(f.name), f"cells-{slug(f.name)}" if f.cells else f"objective-{slug(f.name)}", name
        )
        rows.append([verdict, linked, bullet(f), *rest])
    note = (
        '<p class="soft"><small>Value: what was measured. Bound: how far from it the truth may '
        "lie at this confidence; "
        "the bound, not the value, is held against the limit. Bar: the value, a diamond at the "
        "bound, a line at the limit; what does not hold is shaded.</small></p>"
    )
    told = Markup("").join(
        Markup("<p>{}</p>").format(line) for line in (*spared(judgement), *untried(judgement))
    )
    return Markup("{}{}{}{}").format(
        heading("Objectives", "objectives"),
        table(OBJECTIVE_HEAD, rows, "cards objectives"),
        told,
        Markup(note),  # noqa: S704 - our own words
    )


def failures(judgement: Judgement) -> Markup:
    """How requests failed, also where the verdict did not mind."""
    if not judgement.failures:
        return Markup("")
    head = [("Route", "name"), ("Got", "word"), ("Requests", "number"), ("Wanted", "word")]
    head += [("Where", "why"), ("When", "why")]
    rows = []
    for f in judgement.failures:
        # Without a scheme: nothing on this page is an address that could be followed.
        asked = f.url.rpartition("://")[2]
        where = [one_line(part) for part in (asked, failure_servers(f)) if part]
        users = ", ".join(f"{name} x {count(n)}" for name, n in f.populations.items())
        where += [one_line(f"users in {users}")] if users else []
        phases = ", ".join(f"{name} x {count(n)}" for name, n in f.phases.items())
        got = f"{f.status} {f.outcome}" if f.status else f.outcome
        when = Markup("{}<br><small>{}</small>").format(failure_times(f), one_line(phases))
        lines = Markup("<br>").join(Markup("{}").format(line) for line in where)
        figures = (count(f.count), one_line(f.expected), lines, when)
        rows.append([one_line(f.route), one_line(got), *figures])
    return Markup("{}{}").format(heading("Why requests failed", "failures"), table(head, rows))


def cells(judgement: Judgement) -> Markup:
    """The cells of every objective that has some."""
    with_cells = [f for f in judgement.objectives if f.cells]
    if not with_cells:
        return Markup("")
    return Markup("{}{}").format(
        heading("Cells", "cells"), Markup("\n").join(_cells_of(f) for f in with_cells)
    )


def _cells_of(finding: Finding) -> Markup:
    """The cells of one objective: open where they decide against the release."""
    kind = kinds().get(finding.kind)
    timed = kind is not None and kind.outage
    cells = worst_first(sorted(finding.cells, key=_slowest) if timed else finding.cells)
    bad = finding.verdict is not Verdict.PASS and any(c.verdict is not Verdict.PASS for c in cells)
    shown = cells[:MAX_CELLS]
    figures_s = [
        v
        for c in shown
        for v in (c.value, c.bound, finding.limit)
        if v is not None and math.isfinite(v)
    ]
    longest = max(figures_s, default=0.0)
    head = [("Verdict", ""), ("Cell", "name")]
    head += (
        [("At least", "number"), ("At most", "number"), ("Outage", "")]
        if timed
        else [("Value", "number"), ("Bound", "number")]
    )
    head += [("Samples", "number"), ("Why", "why")]
    rows = []
    for cell in shown:
        figures: list[Any] = [
            amount(cell.value, finding.unit),
            _high(cell, finding) if timed else amount(cell.bound, finding.unit),
        ]
        if timed:
            figures.append(_bar(cell, finding.limit, longest))
        rows.append(
            [
                _cell_chip(cell, finding),
                one_line(cell.name),
                *figures,
                count(cell.samples),
                one_line(cell.why),
            ]
        )
    more = f"{len(cells) - MAX_CELLS} more are in verdict.json." if len(cells) > MAX_CELLS else ""
    good = sum(c.verdict is Verdict.PASS for c in cells)
    limit = f", limit {amount(finding.limit, finding.unit)}" if finding.limit is not None else ""
    if finding.verdict is Verdict.PASS and good < len(cells):
        limit += f" ({spare(finding)})"
    return Markup(
        '<details id="cells-{}"{}><summary>{} {}: {} of {} cells hold{}</summary>'
        "{}{}<p>{}</p>{}</details>"
    ).format(
        slug(finding.name),
        Markup(" open") if bad or (timed and len(cells) <= FEW_CELLS) else "",
        chip(finding.verdict, verdict_word(finding)),
        one_line(finding.name),
        good,
        len(cells),
        limit,
        _stages(finding),
        table(head, rows),
        more,
        proofs(shown),
    )


def _cell_chip(cell: Cell, finding: Finding) -> Markup:
    """A cell's verdict; where the objective passes all the same, with the word that says so."""
    if finding.verdict is not Verdict.PASS or cell.verdict is Verdict.PASS:
        return chip(cell.verdict)
    return Markup('{}<br><small title="{}">allowed</small>').format(
        chip(cell.verdict), spare(finding)
    )


def _stages(finding: Finding) -> Markup:
    """When users noticed, were rerouted, were all served again and caches were warm: fault by
    fault, where labels showed it.
    """
    rows = stage_rows(finding)
    if not rows:
        return Markup("")
    longest = max([at for _, stages in rows for _, at in stages] + [finding.limit or 0.0])
    drawn = [
        (fault, stages_bar(stages, finding.limit, longest), _told(stages)) for fault, stages in rows
    ]
    return table([("Fault", "name"), ("Stages", "bar"), ("Since it was asked for", "why")], drawn)


def _told(stages: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{number} {word} {at:.2f} s" for number, (word, at) in enumerate(stages, 1))


def stage_rows(finding: Finding) -> list[tuple[str, list[tuple[str, float]]]]:
    """(fault, [(stage, seconds since the fault was asked for)]) of a finding that has stages."""
    found = finding.detail.get("stages")
    rows = []
    for fault, stages in found.items() if isinstance(found, Mapping) else ():
        seen = [
            (one_line(str(word)).removesuffix("_s"), float(at))
            for word, at in (stages.items() if isinstance(stages, Mapping) else ())
            if isinstance(at, int | float) and math.isfinite(at) and at >= 0
        ]
        if seen:
            rows.append((one_line(str(fault)), sorted(seen, key=lambda one: one[1])))
    return rows


def _slowest(cell: Cell) -> float:
    return -(math.inf if cell.bound is None else cell.bound)


def _high(cell: Cell, finding: Finding) -> str:
    return (
        "not over"
        if cell.bound is None and cell.value is not None
        else amount(cell.bound, finding.unit)
    )


def _bar(cell: Cell, limit: float | None, longest: float) -> Markup | str:
    if cell.value is None or not math.isfinite(cell.value):
        return ""
    high = longest if cell.bound is None or not math.isfinite(cell.bound) else cell.bound
    return interval(
        cell.value, high, limit if limit is not None and math.isfinite(limit) else None, longest
    )


def validity(judgement: Judgement) -> Markup:
    """The rules that say whether the measurement itself counts."""
    if not judgement.validity:
        return Markup("")
    good = sum(f.verdict is Verdict.PASS for f in judgement.validity)
    columns = [index for index, (_, kind) in enumerate(FINDING_HEAD) if kind != "number"]
    if any(f.value is not None or f.limit is not None for f in judgement.validity):
        columns = list(range(len(FINDING_HEAD)))
    rows = [[row[index] for index in columns] for row in map(_finding_row, judgement.validity)]
    return Markup("{}{}").format(
        heading(
            f"Can the measurement be trusted? {good} of {len(judgement.validity)} rules hold",
            "validity",
        ),
        table([FINDING_HEAD[index] for index in columns], rows),
    )


def deciding(judgement: Judgement, faults: Sequence[Span]) -> Markup:
    """What decided, where and when, as links; of a PASS what came closest to its limit."""
    if judgement.verdict is Verdict.PASS:
        close = [(m, f) for f in judgement.objectives if (m := _margin(f)) is not None]
        if not close:
            return Markup("")
        used, tight = max(close, key=lambda one: (one[0], one[1].name))
        return Markup('<p class="decided">Closest to its limit: {}, {} of {} used.</p>').format(
            _link(tight), percent(min(1.0, used)), "what is allowed"
        )
    rule = next((f for f in judgement.validity if f.verdict is judgement.verdict), None)
    if rule is not None and judgement.verdict is not Verdict.FAIL:
        # What the measurement itself lacks decides before what it would have shown.
        return Markup(
            '<p class="decided">Decided by the rule <a href="#validity">{}</a>.</p>'
        ).format(one_line(rule.name))
    found = [f for f in judgement.objectives if f.verdict is judgement.verdict]
    if not found:
        return Markup("")
    finding = found[0]
    kind = kinds().get(finding.kind)
    ordered = sorted(finding.cells, key=_slowest) if kind and kind.outage else finding.cells
    worst = next((c for c in worst_first(ordered) if c.verdict is not Verdict.PASS), None)
    where = Markup(" in <b>{}</b>").format(one_line(worst.name)) if worst is not None else ""
    at_s = _second(finding, worst, faults, judgement)
    when = Markup("")
    if at_s is not None:
        when = Markup(', from <a href="#t={0}">{0} s</a> of the run').format(f"{at_s:.1f}")
    return Markup('<p class="decided">Decided by {}{}{}.</p>').format(_link(finding), where, when)


def _link(finding: Finding) -> Markup:
    return Markup('<a href="#objective-{}">{}</a>').format(
        slug(finding.name), one_line(finding.name)
    )


def _margin(finding: Finding) -> float | None:
    """How much of what its limit allows the bound uses, from 0 to 1; None where that has no
    meaning.
    """
    bound, limit = finding.bound, finding.limit
    if bound is None or limit is None or not (math.isfinite(bound) and math.isfinite(limit)):
        return None
    if finding.unit in ("share", "fraction") and limit > 0.5:
        bound, limit = 1 - bound, 1 - limit
    return bound / limit if limit > 0 and 0 <= bound <= limit else None


def _second(
    finding: Finding, cell: Cell | None, faults: Sequence[Span], judgement: Judgement
) -> float | None:
    """The second of the run at which the trouble began: users noticing the cell's fault, else the
    first request that failed.
    """
    stages = dict(stage_rows(finding))
    for fault in faults:
        if cell is not None and cell.name.startswith(f"{fault.name}: "):
            return fault.begin_s + dict(stages.get(fault.name, [])).get("noticed", 0.0)
    if finding.verdict is Verdict.FAIL and judgement.failures:
        return min(f.first_s for f in judgement.failures)
    return None
