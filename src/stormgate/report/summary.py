"""The job summary in Markdown: what somebody reads first, on a phone, when the pipeline stopped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stormgate.model import Failure, Finding, Judgement, Plan, Verdict
from stormgate.report.words import (
    MARKS,
    amount,
    count,
    failure_text,
    headline,
    meaning,
    next_steps,
    one_line,
    seconds,
    spared,
    told_of_run,
    untried,
    verdict_word,
    worst_first,
)

if TYPE_CHECKING:
    from stormgate.evidence.read import Run

# GitHub refuses a step summary over 1 MiB, and with it the verdict.
MAX_BYTES = 1 << 20
MAX_WORDS = 600
MAX_CELLS = 40
MAX_FAILURES = 20


def summary_md(judgement: Judgement, run: Run | None = None) -> str:
    """The summary. Findings come first and are never cut; cells are, when a mebibyte would not hold
    them.
    """
    plan = run.plan if run is not None else None
    folder = f"reports/{run.folder.name}" if run is not None else ""
    for cells in (MAX_CELLS, 5, 0):
        text = "\n".join(_lines(judgement, plan, folder, cells)) + "\n"
        if len(text.encode()) <= MAX_BYTES:
            return text
    return _bare(judgement)


def _lines(judgement: Judgement, plan: Plan | None, folder: str, max_cells: int) -> Iterable[str]:
    verdict = judgement.verdict
    waived = " (waived)" if verdict is Verdict.FAIL and judgement.exit_code == 0 else ""
    yield f"# {MARKS[verdict]} {verdict}{waived}: {_md(judgement.gate)}"
    yield ""
    yield f"**{_md(headline(judgement))}**"
    yield ""
    yield f"{verdict} means: {meaning(judgement)}. Exit code {judgement.exit_code}."
    yield ""
    yield "## Objectives"
    yield ""
    yield from _table(judgement.objectives)
    yield ""
    for told in (*told_of_run(judgement), *spared(judgement), *untried(judgement)):
        yield f"- {_md(told)}"
        yield ""
    yield from _reasons(judgement.objectives)
    if verdict is not Verdict.PASS:
        yield from _failures(judgement.failures, max_cells)
    if judgement.validity:
        good = sum(f.verdict is Verdict.PASS for f in judgement.validity)
        yield f"## Can the measurement be trusted? {good} of {len(judgement.validity)} rules hold"
        yield ""
        yield "| | rule | why |"
        yield "|:--|:--|:--|"
        for f in judgement.validity:
            yield f"| {MARKS[f.verdict]} {verdict_word(f)} | {_md(f.name)} | {_md(f.why)} |"
        yield ""
    yield from _cells(judgement.objectives, max_cells)
    yield "## What to do next"
    yield ""
    yield from (
        f"{number}. {step}"
        for number, step in enumerate(next_steps(judgement, folder, plan), start=1)
    )
    yield ""
    yield from _facts(judgement, plan, folder)


def _table(findings: Sequence[Finding]) -> Iterable[str]:
    if not findings:
        yield "Nothing was judged."
        return
    yield "| | name | value | bound | limit | samples |"
    yield "|:--|:--|--:|--:|--:|--:|"
    for f in findings:
        numbers = (
            amount(f.value, f.unit),
            amount(f.bound, f.unit),
            amount(f.limit, f.unit),
            count(f.samples),
        )
        yield (
            f"| {MARKS[f.verdict]} {verdict_word(f)} | {_md(f.name)} | "
            f"{' | '.join(_md(n) for n in numbers)} |"
        )


def _reasons(findings: Sequence[Finding]) -> Iterable[str]:
    telling = [f for f in findings if f.verdict is not Verdict.PASS]
    for f in telling:
        source = f" ({_code(f.source)})" if f.source else ""
        waived = f" Waived: {_md(f.waived)}." if f.waived else ""
        yield f"- **{_md(f.name)}**: {_md(f.why)}{source}{waived}"
    if telling:
        yield ""


def _failures(failures: Sequence[Failure], max_cells: int) -> Iterable[str]:
    if not failures:
        return
    most = MAX_FAILURES if max_cells else 5
    yield "## Why requests failed"
    yield ""
    for failure in failures[:most]:
        yield f"- {_md(failure_text(failure))}"
    if len(failures) > most:
        yield f"- … and in {len(failures) - most} more ways, in verdict.json"
    yield ""


def _cells(findings: Sequence[Finding], most: int) -> Iterable[str]:
    for f in findings:
        if not f.cells or f.verdict is Verdict.PASS or not most:
            continue
        cells = worst_first(f.cells)
        yield f"<details><summary>{_md(f.name)}: {len(cells)} cells</summary>"
        yield ""
        yield "| | cell | value | bound | samples | why |"
        yield "|:--|:--|--:|--:|--:|:--|"
        for cell in cells[:most]:
            numbers = (amount(cell.value, f.unit), amount(cell.bound, f.unit), count(cell.samples))
            shown = " | ".join(_md(n) for n in numbers)
            yield (
                f"| {MARKS[cell.verdict]} {cell.verdict} | {_md(cell.name)} | {shown} | "
                f"{_md(cell.why)} |"
            )
        if len(cells) > most:
            yield f"| | … and {len(cells) - most} more | | | | |"
        yield ""
        yield "</details>"
        yield ""


def _facts(judgement: Judgement, plan: Plan | None, folder: str) -> Iterable[str]:
    facts = []
    if plan is not None:
        calm = plan.warmup_s + plan.steady_s + plan.final_s
        facts.append(
            f"target {_md(plan.target.name)}, {plan.load.rate_per_s:g} requests/s, seed {plan.seed}"
        )
        facts.append(
            f"{seconds(calm)} besides {len(plan.faults)} faults, confidence "
            f"{amount(plan.confidence, 'share')}"
        )
        if plan.started_utc:
            facts.append(f"started {_md(plan.started_utc)}")
    if folder:
        facts.append(f"evidence in {_code(folder)}")
    facts.append(f"plan digest {_code(judgement.plan_digest[:12] or 'none')}")
    yield "; ".join(facts)


def _bare(judgement: Judgement) -> str:
    """The verdict and each objective's, when even the reasons would not fit."""
    lines = [
        f"# {MARKS[judgement.verdict]} {judgement.verdict}: {_md(judgement.gate)[:200]}",
        "",
        _md(headline(judgement))[:2000],
        "",
    ]
    room = MAX_BYTES - 4000
    for f in judgement.objectives:
        line = f"- {verdict_word(f)} {_md(f.name)}"
        room -= len(line.encode()) + 1
        if room < 0:
            lines.append("- … and more, in verdict.json")
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def _md(text: str) -> str:
    """Text that stays text in a Markdown table: no HTML, no link, no emphasis, no new cell."""
    short = one_line(text)
    short = short if len(short) <= MAX_WORDS else short[: MAX_WORDS - 1] + "…"
    for character in "\\`*_[]|~":
        short = short.replace(character, "\\" + character)
    return (
        short.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("@", "@\u200b")
        .replace("://", ":\u200b//")
    )


def _code(text: str) -> str:
    """A path or a digest as code; what does not look like one is shown as text, escaped."""
    return f"`{text}`" if re.fullmatch(r"[\w./:+-]+", text) else _md(text)
