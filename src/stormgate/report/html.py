"""The report page: one file that opens anywhere, years later, without a network and without a
script.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from stormgate.judge.registry import kinds
from stormgate.model import Cell, Finding, Judgement, Plan, Verdict, to_json
from stormgate.report.charts import interval
from stormgate.report.html_parts import chip, table
from stormgate.report.html_run import run_sections
from stormgate.report.words import (
    MARKS,
    amount,
    count,
    failure_servers,
    failure_times,
    gate_file,
    headline,
    meaning,
    next_steps,
    one_line,
    printable,
    seconds,
    spare,
    spared,
    untried,
    verdict_word,
    worst_first,
)

if TYPE_CHECKING:
    from stormgate.evidence.read import Run

MAX_CELLS = 400
FEW_CELLS = 24


def report_html(judgement: Judgement, run: Run | None = None) -> str:
    """The page. Evidence that is missing or torn leaves its section out and is named; it never
    breaks the page.
    """
    plan = run.plan if run is not None else None
    folder = f"reports/{run.folder.name}" if run is not None else "reports/latest"
    drawn, behind = run_sections(run) if run is not None else (Markup(""), Markup(""))
    sections = [
        _banner(judgement, plan),
        _objectives(judgement),
        _failures(judgement),
        _next(judgement, folder, plan),
        drawn,
        _cells(judgement),
        _validity(judgement),
        behind,
        _again(judgement, folder, plan),
        _plan(plan),
        _footer(judgement, run),
    ]
    css = resources.files("stormgate.report").joinpath("page.css").read_text(encoding="utf-8")
    page = Markup(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Nothing may be loaded or run, whatever an escaping mistake would let through.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src '
        "'unsafe-inline'\">\n"
        "<title>{} {}</title>\n<style>\n{}</style>\n</head>\n<body>\n{}\n</body>\n</html>\n"
    )
    body = Markup("\n").join(section for section in sections if section)
    return printable(
        page.format(judgement.verdict.value, one_line(judgement.gate), Markup(css), body)  # noqa: S704 - our own style sheet
    )


def _banner(judgement: Judgement, plan: Plan | None) -> Markup:
    verdict = judgement.verdict
    waived = " (waived)" if verdict is Verdict.FAIL and judgement.exit_code == 0 else ""
    facts: list[tuple[str, str]] = [("Exit code", str(judgement.exit_code))]
    if plan is not None:
        facts += [
            ("Target", f"{one_line(plan.target.name)} ({plan.target.environment})"),
            ("Started", plan.started_utc or "unknown"),
            (
                "Load",
                f"{plan.load.rate_per_s:g} requests/s, {len(plan.target.populations)} populations",
            ),
            ("Faults", ", ".join(f.name for f in plan.faults) or "none"),
            ("Confidence", amount(plan.confidence, "share")),
            ("Seed", str(plan.seed)),
        ]
    listed = Markup("").join(
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(k, one_line(v)) for k, v in facts
    )
    return Markup(
        '<header class="banner {0}"><h1>{1}</h1><p class="verdict">{2} {0}{3}</p><p '
        'class="why">{4}</p>'
        '<p class="soft">{0} means: {5}.</p><dl class="facts">{6}</dl></header>'
    ).format(
        verdict.value,
        one_line(judgement.gate),
        MARKS[verdict],
        waived,
        headline(judgement),
        meaning(judgement),
        listed,
    )


FINDING_HEAD = [
    ("Verdict", ""),
    ("Name", "name"),
    ("Value", "number"),
    ("Bound", "number"),
    ("Limit", "number"),
    ("Samples", "number"),
    ("Why", "why"),
]


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


def _objectives(judgement: Judgement) -> Markup:
    if not judgement.objectives:
        return Markup("<h2>Objectives</h2><p>No objective was judged.</p>")
    rows = [_finding_row(f) for f in judgement.objectives]
    note = (
        '<p class="soft"><small>Value: what was measured. Bound: how far from it the truth may '
        "lie at this confidence; "
        "the bound, not the value, is held against the limit.</small></p>"
    )
    told = Markup("").join(
        Markup("<p>{}</p>").format(line) for line in (*spared(judgement), *untried(judgement))
    )
    return Markup("<h2>Objectives</h2>{}{}{}").format(
        table(FINDING_HEAD, rows),
        told,
        Markup(note),  # noqa: S704 - our own words
    )


def _failures(judgement: Judgement) -> Markup:
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
    return Markup("<h2>Why requests failed</h2>{}").format(table(head, rows))


def _next(judgement: Judgement, folder: str, plan: Plan | None) -> Markup:
    steps = Markup("").join(
        Markup("<li>{}</li>").format(_with_code(s)) for s in next_steps(judgement, folder, plan)
    )
    return Markup("<h2>What to do next</h2><ol>{}</ol>").format(steps)


def _with_code(step: str) -> Markup:
    parts = step.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else Markup("{}").format(part)
        for index, part in enumerate(parts)
    )


def _cells(judgement: Judgement) -> Markup:
    with_cells = [f for f in judgement.objectives if f.cells]
    if not with_cells:
        return Markup("")
    return Markup("<h2>Cells</h2>{}").format(Markup("\n").join(_cells_of(f) for f in with_cells))


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
                chip(cell.verdict),
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
        "<details{}><summary>{} {}: {} of {} cells hold{}</summary>{}<p>{}</p></details>"
    ).format(
        Markup(" open") if bad or (timed and len(cells) <= FEW_CELLS) else "",
        chip(finding.verdict, verdict_word(finding)),
        one_line(finding.name),
        good,
        len(cells),
        limit,
        table(head, rows),
        more,
    )


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


def _validity(judgement: Judgement) -> Markup:
    if not judgement.validity:
        return Markup("")
    good = sum(f.verdict is Verdict.PASS for f in judgement.validity)
    columns = [index for index, (_, kind) in enumerate(FINDING_HEAD) if kind != "number"]
    if any(f.value is not None or f.limit is not None for f in judgement.validity):
        columns = list(range(len(FINDING_HEAD)))
    rows = [[row[index] for index in columns] for row in map(_finding_row, judgement.validity)]
    return Markup("<h2>Can the measurement be trusted? {} of {} rules hold</h2>{}").format(
        good, len(judgement.validity), table([FINDING_HEAD[index] for index in columns], rows)
    )


def _again(judgement: Judgement, folder: str, plan: Plan | None) -> Markup:
    gate = gate_file(judgement, plan)
    seed = f" --seed {plan.seed}" if plan else ""
    lines = (
        f"stormgate judge {folder}            # the same evidence, judged again: the same "
        "verdict, byte for byte",
        f"stormgate gate {gate}{seed}   # the same trial again",
        f"stormgate evidence check {folder}   # is the evidence whole?",
    )
    return Markup("<h2>Again</h2><pre>{}</pre>").format(
        "\n".join(one_line_keeping_spaces(line) for line in lines)
    )


def one_line_keeping_spaces(text: str) -> str:
    """A command as it is typed, without line breaks that would make it two."""
    return printable(text).replace("\n", " ").replace("\r", " ")


def _plan(plan: Plan | None) -> Markup:
    if plan is None:
        return Markup("")
    data = to_json(plan)
    around = (
        f"warmup {seconds(plan.warmup_s)}, steady {seconds(plan.steady_s)}, final "
        f"{seconds(plan.final_s)}"
    )
    text = json.dumps(data, indent=1, ensure_ascii=False)
    if len(text) > 200_000:
        text = text[:200_000] + "\n… (the rest is in plan.json)"
    return Markup(
        "<h2>Plan</h2><p>{}</p><details><summary>plan.json</summary><pre>{}</pre></details>"
    ).format(around, text)


def _footer(judgement: Judgement, run: Run | None) -> Markup:
    problems = ""
    if run is not None and run.problems:
        problems = "Evidence: " + "; ".join(one_line(p) for p in run.problems[:20]) + ". "
    return Markup("<footer>{}Plan digest <code>{}</code>, schema {}.</footer>").format(
        problems, judgement.plan_digest or "none", judgement.schema
    )
