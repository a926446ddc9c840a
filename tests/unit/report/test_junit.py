"""junit.xml holds to what the schemas of Ant and of Jenkins (junit-10) allow both. Their rules are
written down here as tables: which attributes and children an element must and may have.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.golden.report_cases import CASES, hostile, write_run

from stormgate.evidence import open_run
from stormgate.model import Attempt, Release, Verdict
from stormgate.report import junit_xml

# element -> (attributes that Ant requires, attributes that both allow, children in Ant's order)
RULES = {
    "testsuites": (set(), set(), ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "timestamp", "hostname", "package", "id"},
        {"skipped"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "properties": (set(), set(), ["property"]),
    "property": ({"name", "value"}, set(), []),
    "testcase": ({"name", "classname", "time"}, set(), ["error", "failure"]),
    "error": ({"type"}, {"message"}, []),
    "failure": ({"type"}, {"message"}, []),
    "system-out": (set(), set(), []),
    "system-err": (set(), set(), []),
}
SUREFIRE_TIME = r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?"


def faults_of(element: ElementTree.Element) -> list[str]:
    required, allowed, order = RULES[element.tag]
    found = [f"{element.tag} lacks {name}" for name in required - set(element.attrib)]
    found += [
        f"{element.tag} may not have {name}" for name in set(element.attrib) - required - allowed
    ]
    places = [order.index(c.tag) if c.tag in order else -1 for c in element]
    if -1 in places or places != sorted(places):
        found.append(f"{element.tag} has children {[c.tag for c in element]}")
    if element.tag == "testcase" and len(element) > 1:
        found.append("a testcase with more than one outcome")
    if (time := element.get("time")) is not None and not re.fullmatch(SUREFIRE_TIME, time):
        found.append(f"time {time}")
    stamp = element.get("timestamp")
    if stamp is not None and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", stamp):
        found.append(f"timestamp {stamp}")
    if element.get("name") == "":
        found.append(f"{element.tag} without a name")
    return found + [fault for child in element for fault in faults_of(child)]


@pytest.mark.parametrize("name", [*CASES, "hostile"])
def test_what_ant_and_jenkins_allow(name: str) -> None:
    judgement = hostile() if name == "hostile" else CASES[Verdict(name)]
    assert faults_of(ElementTree.fromstring(junit_xml(judgement))) == []


def test_an_attribute_or_a_child_too_many_would_be_found() -> None:
    root = ElementTree.fromstring(
        '<testsuites name="x"><testsuite><testcase name="a" file="b"><system-out/></testcase>'
        "</testsuite></testsuites>"
    )
    found = faults_of(root)
    assert "testsuites may not have name" in found
    assert "testcase may not have file" in found
    assert "testcase has children ['system-out']" in found


def test_the_run_gives_when_it_began_and_how_long_it_took(tmp_path: Path) -> None:
    run = open_run(write_run(tmp_path / "run"))
    suite = ElementTree.fromstring(junit_xml(CASES[Verdict.PASS], run)).find("testsuite")
    assert suite is not None
    assert run.plan is not None
    assert suite.get("timestamp") == run.plan.started_utc[:19]
    took_s = float(suite.get("time") or 0)
    assert took_s >= 75
    assert float(suite[1].get("time") or 0) == took_s


def test_release_and_earlier_attempts_are_properties() -> None:
    judgement = replace(
        CASES[Verdict.PASS],
        release=Release(name="1.4.2", commit="a" * 40, told_by="GitLab CI"),
        attempts=(Attempt(folder="run-1", verdict="INCONCLUSIVE", why="generator late"),),
    )
    suite = ElementTree.fromstring(junit_xml(judgement)).find("testsuite")
    assert suite is not None
    said = {p.get("name"): p.get("value") for p in suite.findall("properties/property")}
    assert said["release.name"] == "1.4.2"
    assert said["release.commit"] == "a" * 40
    assert said["attempt.1"] == "run-1 INCONCLUSIVE: generator late"
    assert "release.pipeline" not in said
