"""How figures and verdicts are put into words, the same on every screen and page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from stormgate.model import (
    OLD_PROOF_DAYS,
    PASSED_OVER,
    PROVED,
    Cell,
    Failure,
    Finding,
    Judgement,
    KnownProof,
    Plan,
    Verdict,
)

MARKS = {
    Verdict.PASS: "✔",
    Verdict.FAIL: "✘",
    Verdict.INCONCLUSIVE: "?",
    Verdict.ERROR: "!",
    Verdict.ABORTED: "■",
    Verdict.DIRTY: "‼",
}
MEANING = {
    Verdict.PASS: "every objective holds, every fault was proven, and the measurement can be "
    "trusted",
    Verdict.FAIL: "an objective is broken beyond doubt",
    Verdict.INCONCLUSIVE: "the evidence does not decide; this is not a pass",
    Verdict.ERROR: "the harness itself failed; nothing is known about the release",
    Verdict.ABORTED: "a guard or a person stopped the run, and everything was undone",
    Verdict.DIRTY: "an undo failed or could not be verified: the target may still be broken",
}
DASH = "\u2013"


def amount(value: float | None, unit: str) -> str:
    """A figure with its unit: `99.9921 %`, `41.2 ms`, `2.31 s`, `1,204`; a dash where nothing was
    measured.

    A share never rounds up to 100 % nor down to 0 %: a reader takes those for "all" and "none".
    """
    if value is None:
        return DASH
    if math.isinf(value) or math.isnan(value):
        return "never" if value > 0 and unit in {"ms", "s"} else DASH if math.isnan(value) else "∞"
    if unit in {"share", "fraction"}:
        return percent(value)
    if unit == "s" and abs(value) < 1 and value:
        return f"{_plain(value * 1000)} ms"
    text = f"{value:,.0f}" if float(value).is_integer() else _plain(value)
    return f"{text} {one_line(unit)}".rstrip()


def percent(value: float) -> str:
    """A share in percent with as many digits as its distance from 0 % or 100 % needs."""
    if value in {0.0, 1.0}:
        return f"{value * 100:.0f} %"
    if not -1 < value < 2:
        return f"{value * 100:.3g} %"
    distance = min(abs(value), abs(1 - value))
    digits = min(8, max(2, 1 - math.floor(math.log10(distance * 100)))) if distance > 0 else 2
    shown = (
        math.floor(value * 100 * 10**digits + 1e-6) / 10**digits if 0.5 < value < 1 else value * 100
    )
    if 0 < value < 1:
        shown = min(100 - 10.0**-digits, max(10.0**-digits, shown))
    text = f"{shown:.{digits}f}".rstrip("0").rstrip(".")
    return f"{text} %"


def _plain(value: float) -> str:
    if value == 0:
        return "0"
    digits = max(0, min(6, 2 - math.floor(math.log10(abs(value)))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: int) -> str:
    """A whole number with thousands separated."""
    return f"{value:,}"


def seconds(value: float) -> str:
    """A stretch of time as people say it: `45 s`, `2 min 5 s`, `1 h 3 min`."""
    whole = max(0, round(value))
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 100:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def verdict_word(finding: Finding | Cell) -> str:
    """The verdict, and whether it is waived."""
    return (
        f"{finding.verdict} (waived)"
        if isinstance(finding, Finding) and finding.waived
        else finding.verdict.value
    )


def failure_text(failure: Failure) -> str:
    """One way in which requests failed, in a line: `login 401 x 312, wanted 200-399
    (http://edge/login), 3.0 to 95.2 s`.
    """
    how = f"{failure.status}" if failure.outcome == "bad_status" else failure.outcome
    if failure.status and failure.outcome not in {"bad_status", "late"}:
        how += f" {failure.status}"
    wanted = f", wanted {failure.expected}" if failure.expected else ""
    where = "; ".join(part for part in (failure.url, failure_servers(failure)) if part)
    told = f"{failure.route} {how} x {count(failure.count)}{wanted}"
    return one_line(f"{told}{f' ({where})' if where else ''}, {failure_times(failure)}")


def failure_servers(failure: Failure) -> str:
    """Who answered so: `served by eu-west x 300, us-east x 12`; empty where no answer said."""
    named = ", ".join(f"{name} x {count(n)}" for name, n in failure.served_by.items())
    return f"served by {named}" if named else ""


def failure_times(failure: Failure) -> str:
    """When: `at 3.0 s`, `3.0 to 95.2 s` of the run."""
    first, last = f"{failure.first_s:.1f}", f"{failure.last_s:.1f}"
    return f"at {first} s" if first == last else f"{first} to {last} s"


def headline(judgement: Judgement) -> str:
    """Why the verdict is what it is, in one line."""
    if judgement.why:
        return one_line(judgement.why)
    decisive = [
        f for f in (*judgement.objectives, *judgement.validity) if f.verdict is judgement.verdict
    ]
    if judgement.verdict is Verdict.PASS:
        return f"{len(judgement.objectives)} of {len(judgement.objectives)} objectives hold"
    if not decisive:
        return MEANING[judgement.verdict]
    more = f" (and {len(decisive) - 1} more)" if len(decisive) > 1 else ""
    return one_line(f"{decisive[0].name}: {decisive[0].why}{more}")


def told_of_run(judgement: Judgement) -> list[str]:
    """Which release was judged and how: its name and who said it, what a short try changed, the
    attempts before this one, and what is proved of the objectives. Empty when there is nothing to
    say.
    """
    told, release = [], judgement.release
    if release:
        by = f", told by {one_line(release.told_by)}" if release.told_by else ""
        told.append(f"Release {one_line(release.text)}{by}.")
    if judgement.short:
        told.append(f"A short try, not the whole gate: {one_line('; '.join(judgement.short))}.")
    for number, attempt in enumerate(judgement.attempts, start=1):
        told.append(
            f"Attempt {number} was {one_line(attempt.verdict)}: {one_line(attempt.why)} "
            f"({one_line(attempt.folder)})."
        )
    return told + proved(judgement)


def proved(judgement: Judgement) -> list[str]:
    """Which objectives have been seen to fail over a violation made on this target, and when; which
    passed over one. Said once where there is nothing; empty where nobody looked.
    """
    if judgement.proofs is None:
        return []
    by_age: dict[str, list[str]] = {}
    for proof in judgement.proofs:
        if proof.state == PROVED:
            by_age.setdefault(_proved_when(proof), []).append(one_line(proof.objective))
    told = [f"{', '.join(names)}: {when}." for when, names in by_age.items()]
    told += [
        f"{one_line(proof.objective)} passed over a violation {ago(proof.days)}"
        f"{_changed(proof)}: it can say nothing ({one_line(proof.run)})."
        for proof in judgement.proofs
        if proof.state == PASSED_OVER
    ]
    if told or judgement.verdict is Verdict.FAIL:  # a gate that fails needs no proof that it can
        return told
    return ["No objective has been proved able to fail on this target (stormgate prove)."]


def ago(days: int) -> str:
    """`today`, `yesterday`, `3 days ago`."""
    return {0: "today", 1: "yesterday"}.get(days, f"{count(days)} days ago")


def _proved_when(proof: KnownProof) -> str:
    old = f", over {OLD_PROOF_DAYS} days: prove it again" if proof.days > OLD_PROOF_DAYS else ""
    return f"proved {ago(proof.days)}{_changed(proof)}{old}"


def _changed(proof: KnownProof) -> str:
    return f", and the {proof.changed} has changed since" if proof.changed else ""


def spared(judgement: Judgement) -> list[str]:
    """Of each objective that passed over cells that did not: which, and why they may."""
    told = []
    for f in judgement.objectives:
        bad = [c for c in worst_first(f.cells) if c.verdict is not Verdict.PASS]
        if f.verdict is not Verdict.PASS or not bad:
            continue
        names = ", ".join(one_line(c.name) for c in bad[:4])
        more = f" and {len(bad) - 4} more" if len(bad) > 4 else ""
        few = "1 cell does" if len(bad) == 1 else f"{len(bad)} cells do"
        told.append(f"{one_line(f.name)} passed although {few} not ({names}{more}): {spare(f)}")
    return told


def spare(finding: Finding) -> str:
    """Why an objective passes over cells that do not."""
    covered, wanted = (finding.detail.get(key) for key in ("covered", "coverage"))
    if isinstance(covered, int | float) and isinstance(wanted, int | float):
        share, reached = percent(float(wanted)), percent(float(covered))
        return f"it wants {share} of the users within it, {reached} are"
    return one_line(finding.why)


def untried(judgement: Judgement) -> list[str]:
    """That a gate passed without breaking anything, where it did."""
    faults = [f for f in judgement.validity if f.name == "faults" and f.kind == "validity"]
    if judgement.verdict is not Verdict.PASS or not faults or faults[0].samples:
        return []
    return ["No fault was tried: nothing is known of what users see when something breaks."]


def meaning(judgement: Judgement) -> str:
    """What the verdict means here."""
    if untried(judgement):
        return "every objective holds and the measurement can be trusted; no fault was tried"
    return MEANING[judgement.verdict]


def next_steps(judgement: Judgement, folder: str, plan: Plan | None = None) -> list[str]:
    """What to do now, as sentences; commands stand in backticks."""
    folder = folder or "reports/latest"
    gate = gate_file(judgement, plan)
    again = f"Run it again: `stormgate gate {gate}`"
    steps = {
        Verdict.PASS: ["Ship it."],
        Verdict.FAIL: [
            "Do not ship.",
            *_where_to_look(judgement, folder),
            f"Judge the same evidence again: `stormgate judge {folder}`",
        ],
        Verdict.INCONCLUSIVE: [
            "Do not ship on this run: it does not show that the release is bad, and not that "
            "it is good.",
            "Remove the reason named beside each `INCONCLUSIVE` above.",
            f"Then see whether the gate can decide at all: `stormgate plan {gate}`",
            again,
        ],
        Verdict.ERROR: [f"Read the logs: `{folder}/logs/`", again],
        Verdict.ABORTED: [
            f"What stopped it is the `abort` event in `{folder}/timeline.ndjson`",
            again,
        ],
        Verdict.DIRTY: [
            "Page whoever owns the target: it may still be broken.",
            f"Undo what is left: `stormgate restore {folder}`",
            f"What was broken, and its inverse, is in `{folder}/undo.ndjson`",
        ],
    }[judgement.verdict]
    if judgement.verdict is Verdict.FAIL and judgement.exit_code == 0:
        waived = ", ".join(
            f"{f.name} ({one_line(f.waived)})" for f in judgement.objectives if f.waived
        )
        return [f"The failure is waived, so the exit code is 0: {waived}.", *steps[1:]]
    return steps


def _where_to_look(judgement: Judgement, folder: str) -> list[str]:
    """What of the report shows why a gate failed: lost data has keys."""
    page = f"`{folder}/report.html`"
    failed = [f for f in judgement.objectives if f.verdict is Verdict.FAIL]
    first = next((f for f in failed if not f.waived), failed[0] if failed else None)
    if first is None:
        return [f"Look at what failed: {page}"]
    if any(isinstance(cell.detail.get("key"), str) for cell in first.cells):
        return [
            f"Look at the very keys, who wrote them and when: {page}",
            f"Take the history out for another checker: `stormgate evidence export {folder} "
            "--history --final`",
        ]
    return [f"Look at the cells that failed, and when: {page}"]


def gate_file(judgement: Judgement, plan: Plan | None = None) -> str:
    """The gate's file as a command names it: the plan's, else the one the objectives came from."""
    if plan is not None and plan.source:
        return one_line(plan.source)
    files = [file for f in judgement.objectives if (file := f.source.rpartition(":")[0])]
    return one_line(files[0]) if files else "GATE"


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    return re.sub(r"\s+", " ", printable(text)).strip()


def printable(text: str) -> str:
    """Text with control characters, lone surrogates and direction marks made visible: it comes from
    targets and documents.
    """
    return re.sub(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]",
        "\ufffd",
        text,
    )


def worst_first(cells: Iterable[Cell]) -> list[Cell]:
    """Cells with the worst verdict first, else in the judge's order."""
    return sorted(cells, key=lambda cell: -cell.verdict.severity)
