"""JUnit XML for the test tabs of CI servers. Format: the Jenkins and GitLab subset of the Ant
schema.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from stormgate.model import Finding, Judgement, Verdict
from stormgate.report.words import (
    amount,
    count,
    failure_text,
    headline,
    one_line,
    printable,
    verdict_word,
    worst_first,
)

FAILURES = frozenset({Verdict.FAIL, Verdict.DIRTY})
MAX_CELLS = 200
MAX_FAILURES = 20


def junit_xml(judgement: Judgement) -> str:
    """One suite: the gate's own verdict first, then each objective and each validity rule.

    FAIL and DIRTY are failures, everything else that is not PASS is an error. Nothing is `skipped`:
    servers show that as green.
    """
    cases = [_gate_case(judgement)]
    cases += [_case(finding, "objectives") for finding in judgement.objectives]
    cases += [_case(finding, "validity") for finding in judgement.validity]
    totals = {
        "name": one_line(f"stormgate {judgement.gate}"),
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": "0",
    }
    root = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(root, "testsuite", totals)
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (
        ("verdict", judgement.verdict.value),
        ("exit_code", str(judgement.exit_code)),
        ("plan_digest", judgement.plan_digest),
    ):
        ElementTree.SubElement(properties, "property", {"name": name, "value": one_line(value)})
    suite.extend(cases)
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _gate_case(judgement: Judgement) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", {"classname": "stormgate.gate", "name": one_line(judgement.gate)}
    )
    failed = [f"failed   {failure_text(f)}" for f in judgement.failures[:MAX_FAILURES]]
    if len(judgement.failures) > MAX_FAILURES:
        failed.append(f"  … and in {len(judgement.failures) - MAX_FAILURES} more ways")
    text = printable("\n".join([judgement.why, *failed]))
    verdict = judgement.verdict
    _outcome(case, verdict, verdict.value, headline(judgement), text)
    return case


def _case(finding: Finding, group: str) -> ElementTree.Element:
    attributes = {"classname": f"stormgate.{group}", "name": one_line(finding.name)}
    file, _, line = finding.source.rpartition(":")
    if file and line.isdigit():
        attributes |= {"file": one_line(file), "line": line}
    case = ElementTree.Element("testcase", attributes)
    text = printable("\n".join(_lines(finding)))
    _outcome(case, finding.verdict, verdict_word(finding), one_line(finding.why), text)
    if finding.verdict is Verdict.PASS:
        ElementTree.SubElement(case, "system-out").text = text
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
