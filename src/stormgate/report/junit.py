"""JUnit XML for the test tabs of CI servers. What both the Ant schema and the one of Jenkins allow,
and nothing else: GitLab, GitHub's readers and the rest accept that too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from stormgate.model import Finding, Judgement, Verdict
from stormgate.report.words import (
    amount,
    count,
    failure_text,
    headline,
    one_line,
    printable,
    told_of_run,
    verdict_word,
    worst_first,
)

if TYPE_CHECKING:
    from stormgate.evidence.read import Run

FAILURES = frozenset({Verdict.FAIL, Verdict.DIRTY})
MAX_CELLS = 200
MAX_FAILURES = 20
# What stands where nobody knows when a run began: the attribute must be there.
NO_TIME = "1970-01-01T00:00:00"


def junit_xml(judgement: Judgement, run: Run | None = None) -> str:
    """One suite: the gate's own verdict first, with the whole run's time, then each objective and
    each validity rule.

    FAIL and DIRTY are failures, everything else that is not PASS is an error. Nothing is `skipped`:
    servers show that as green. Of `run` come the times: when it began (UTC) and how long it took.
    """
    began, took_s = _times(run)
    cases = [_gate_case(judgement, took_s)]
    cases += [_case(finding, "objectives") for finding in judgement.objectives]
    cases += [_case(finding, "validity") for finding in judgement.validity]
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": one_line(f"stormgate {judgement.gate}"),
            "tests": str(len(cases)),
            "failures": str(sum(case.find("failure") is not None for case in cases)),
            "errors": str(sum(case.find("error") is not None for case in cases)),
            "skipped": "0",
            "time": f"{took_s:.3f}",
            "timestamp": began,
            "hostname": "localhost",
            "package": "stormgate",
            "id": "0",
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(judgement):
        ElementTree.SubElement(properties, "property", {"name": name, "value": one_line(value)})
    suite.extend(cases)
    passed = [f for f in (*judgement.objectives, *judgement.validity) if f.verdict is Verdict.PASS]
    told = [f"{one_line(f.name)}\n" + "\n".join(f"  {line}" for line in _lines(f)) for f in passed]
    out = ElementTree.SubElement(suite, "system-out")
    out.text = printable("\n".join([*told_of_run(judgement), *told]))
    ElementTree.SubElement(suite, "system-err")
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _times(run: Run | None) -> tuple[str, float]:
    """When the run began, as the schema writes it (UTC, no zone), and its length, s."""
    if run is None or run.plan is None:
        return NO_TIME, 0.0
    at = [int(row["at_ns"]) for row in run.timeline if isinstance(row.get("at_ns"), int)]
    took_s = (max(at) - min(at)) / 1e9 if at else 0.0
    began = run.plan.started_utc[:19]
    return (began if len(began) == len(NO_TIME) else NO_TIME), took_s


def _properties(judgement: Judgement) -> Iterable[tuple[str, str]]:
    yield "verdict", judgement.verdict.value
    yield "exit_code", str(judgement.exit_code)
    yield "plan_digest", judgement.plan_digest
    release = judgement.release
    for name in ("name", "commit", "told_by", "pipeline"):
        if value := getattr(release, name):
            yield f"release.{name}", value
    for number, attempt in enumerate(judgement.attempts, start=1):
        yield f"attempt.{number}", f"{attempt.folder} {attempt.verdict}: {attempt.why}"


def _gate_case(judgement: Judgement, took_s: float) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        {
            "classname": "stormgate.gate",
            "name": one_line(judgement.gate) or "gate",
            "time": f"{took_s:.3f}",
        },
    )
    failed = [f"failed   {failure_text(f)}" for f in judgement.failures[:MAX_FAILURES]]
    if len(judgement.failures) > MAX_FAILURES:
        failed.append(f"  … and in {len(judgement.failures) - MAX_FAILURES} more ways")
    text = printable("\n".join([judgement.why, *told_of_run(judgement), *failed]))
    verdict = judgement.verdict
    _outcome(case, verdict, verdict.value, headline(judgement), text)
    return case


def _case(finding: Finding, group: str) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        # The whole run is one measurement: no part of its time belongs to one objective.
        {"classname": f"stormgate.{group}", "name": one_line(finding.name), "time": "0.000"},
    )
    text = printable("\n".join(_lines(finding)))
    _outcome(case, finding.verdict, verdict_word(finding), one_line(finding.why), text)
    return case


def _outcome(
    case: ElementTree.Element, verdict: Verdict, word: str, message: str, text: str
) -> None:
    if verdict is Verdict.PASS:
        return
    tag = "failure" if verdict in FAILURES else "error"
    ElementTree.SubElement(case, tag, {"type": word, "message": f"{word}: {message}"}).text = text


def _lines(finding: Finding) -> Iterable[str]:
    unit = finding.unit
    yield f"kind     {one_line(finding.kind)}"
    yield f"verdict  {verdict_word(finding)}"
    yield f"value    {amount(finding.value, unit)}"
    yield f"bound    {amount(finding.bound, unit)}"
    yield f"limit    {amount(finding.limit, unit)}"
    yield f"samples  {count(finding.samples)}"
    yield f"why      {one_line(finding.why)}"
    if finding.source:
        yield f"source   {one_line(finding.source)}"
    if finding.waived:
        yield f"waived   {one_line(finding.waived)}"
    cells = worst_first(finding.cells)
    for cell in cells[:MAX_CELLS]:
        figures = (
            f"{amount(cell.value, unit)} (bound {amount(cell.bound, unit)}, "
            f"{count(cell.samples)} samples)"
        )
        yield f"  {cell.verdict:<12} {one_line(cell.name)}: {figures} {one_line(cell.why)}".rstrip()
    if len(cells) > MAX_CELLS:
        yield f"  … and {len(cells) - MAX_CELLS} more cells"
