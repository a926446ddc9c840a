"""What every output must hold: each objective, the verdict, no green where there is none, and
nothing that executes.
"""

# ruff: noqa: E501, RUF001 - tables read row by row; the dash is what is shown

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from tests.golden.report_cases import CASES, HOSTILE, WAIVED, finding, hostile, plan, write_run

from stormgate.evidence import open_run
from stormgate.model import Cell, Finding, Judgement, Objective, Verdict, from_json, worst
from stormgate.report import initial, junit_xml, report_html, summary_md, verdict_json
from stormgate.report.console import print_judgement
from stormgate.report.html.faults import short
from stormgate.report.html.run import limit_label
from stormgate.report.summary import MAX_BYTES
from stormgate.report.words import amount, percent, seconds, spared, untried

VERDICTS = list(Verdict)


def printed(
    judgement: Judgement, width: int = 80, encoding: str = "utf-8", **console: object
) -> str:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    print_judgement(
        judgement, Path("reports/x"), Console(file=out, width=width, highlight=False, **console)
    )  # type: ignore[arg-type]
    out.flush()
    return raw.getvalue().decode(encoding)


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30)
numbers = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 1.0, math.inf]))
cells = st.builds(
    Cell,
    name=names,
    verdict=st.sampled_from(VERDICTS),
    value=numbers,
    bound=numbers,
    samples=st.integers(0, 10**9),
    why=names,
)
findings = st.builds(
    Finding, name=st.from_regex(r"[a-z]{3,12}-[0-9]{1,4}", fullmatch=True), kind=st.sampled_from(["availability", "failover", "latency"]),
    verdict=st.sampled_from(VERDICTS), value=numbers, bound=numbers, limit=numbers, unit=st.sampled_from(["share", "ms", "s", "", "x"]),
    samples=st.integers(0, 10**9), why=names, cells=st.lists(cells, max_size=3).map(tuple), waived=st.sampled_from(["", "ops until 2030"]),
    source=st.sampled_from(["", "slas/x.yaml:3"]),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    objectives=st.lists(findings, max_size=5, unique_by=lambda f: f.name),
    validity=st.lists(findings, max_size=3),
)
@example(
    [
        Finding(
            name="a-0",
            kind="failover",
            verdict=Verdict.PASS,
            value=None,
            bound=None,
            limit=None,
            unit="s",
            samples=0,
            why="w",
            cells=(
                Cell(name="c", verdict=Verdict.PASS, value=-6e78, bound=5e-228, samples=0, why="w"),
            ),
        )
    ],
    [],
)
def test_every_objective_and_its_verdict_is_in_every_output(
    objectives: list[Finding], validity: list[Finding]
) -> None:
    verdict = worst(f.verdict for f in objectives)
    judgement = Judgement(
        gate="g",
        verdict=verdict,
        exit_code=verdict.exit_code,
        plan_digest="d",
        objectives=tuple(objectives),
        validity=tuple(validity),
    )
    texts = [
        junit_xml(judgement),
        summary_md(judgement),
        report_html(judgement),
        printed(judgement, 120),
    ]
    assert not re.search(r'="-?(nan|inf)', texts[2])
    data = json.loads(verdict_json(judgement))
    assert [o["name"] for o in data["objectives"]] == [f.name for f in objectives]
    for text in texts:
        assert verdict.value in text
        for one in objectives:
            assert one.name in re.sub(r"\\(.)", r"\1", text)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_verdict_json_reads_back(verdict: Verdict) -> None:
    data = json.loads(verdict_json(CASES[verdict]))
    assert from_json(Judgement, data) == CASES[verdict]
    assert {"schema", "verdict", "exit_code", "gate", "plan_digest", "objectives"} <= set(data)
    keys = {"name", "kind", "verdict", "value", "bound", "limit", "unit", "samples", "why"}
    assert all(keys <= set(objective) for objective in data["objectives"])


def test_infinity_is_null_in_json() -> None:
    infinite = replace(
        CASES[Verdict.FAIL],
        objectives=(
            finding("p", "latency", Verdict.FAIL, "never", value=math.inf, bound=math.nan),
        ),
    )
    data = json.loads(
        verdict_json(infinite), parse_constant=lambda word: pytest.fail(f"{word} is not JSON")
    )
    assert (data["objectives"][0]["value"], data["objectives"][0]["bound"]) == (None, None)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_junit_is_green_only_for_pass(verdict: Verdict) -> None:
    root = ElementTree.fromstring(junit_xml(CASES[verdict])).find("testsuite")
    assert root is not None
    cases = root.findall(".//testcase")
    assert (
        root.get("tests")
        == str(len(cases))
        == str(1 + len(CASES[verdict].objectives) + len(CASES[verdict].validity))
    )
    assert int(root.get("failures", "")) == len(root.findall(".//failure"))
    assert int(root.get("errors", "")) == len(root.findall(".//error"))
    assert root.findall(".//skipped") == []
    red = len(root.findall(".//failure")) + len(root.findall(".//error"))
    assert (red == 0) == (verdict is Verdict.PASS)
    gate = cases[0]
    wanted = {Verdict.PASS: None, Verdict.FAIL: "failure", Verdict.DIRTY: "failure"}.get(
        verdict, "error"
    )
    assert [child.tag for child in gate] == ([] if wanted is None else [wanted])


def test_a_waived_failure_stays_a_failure_and_says_that_it_is_waived() -> None:
    root = ElementTree.fromstring(junit_xml(WAIVED))
    assert [f.get("type") for f in root.findall(".//failure")][-1] == "FAIL (waived)"
    assert "FAIL (waived)" in printed(WAIVED)
    assert "# ✘ FAIL (waived)" in summary_md(WAIVED)


def test_before_the_end_everything_says_inconclusive() -> None:
    texts = initial(plan())
    data = json.loads(texts["verdict.json"])
    assert (data["verdict"], data["exit_code"], data["plan_digest"]) == (
        "INCONCLUSIVE",
        3,
        plan().digest,
    )
    assert [o["verdict"] for o in data["objectives"]] == ["INCONCLUSIVE"] * 3
    root = ElementTree.fromstring(texts["junit.xml"])
    assert len(root.findall(".//error")) == 4
    assert texts["summary.md"].startswith("# ? INCONCLUSIVE: chenu-release")


class _Tags(HTMLParser):
    """What a browser would see: tags, and attributes that load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.bad: list[tuple[str, str | None]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []

    def handle_data(self, data: str) -> None:
        if self.scripts and self.get_starttag_text() and self.lasttag == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self.lasttag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        self.bad += [
            (k, v)
            for k, v in attrs
            if k.startswith("on")
            or k in {"src", "xlink:href", "action", "style"}
            or (k == "href" and not re.fullmatch(r"#[a-z0-9=.-]+", v or ""))
        ]


def assert_harmless(page: str) -> None:
    tags = _Tags()
    tags.feed(page)
    assert not tags.tags & {"img", "link", "iframe", "object", "embed", "form"}
    assert tags.bad == []
    # Of scripts only the data, which is none, and our own, as the policy names it.
    code = resources.files("stormgate.report.html").joinpath("page.js").read_text("utf-8")
    if tags.scripts:
        data, ours = tags.scripts
        assert data[0] == {"type": "application/json", "id": "data"}
        assert json.loads(data[1])["total"]
        assert ours == ({}, code)
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in page
    page = page.replace(code, "")
    assert (
        "http" not in page.replace("http-equiv", "").replace(HOSTILE, "") or "http://evil" in page
    )
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page


def test_hostile_words_stay_words_on_the_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", words=HOSTILE.replace("\x00", ""), seconds=42)
    page = report_html(hostile(), open_run(folder))
    assert_harmless(page)
    assert "&lt;script&gt;alert(1)" in page


def test_hostile_words_stay_words_elsewhere() -> None:
    ElementTree.fromstring(junit_xml(hostile()))
    markdown = summary_md(hostile())
    assert "<script" not in markdown
    assert not re.search(r"(?<!\\)\]\(", markdown)
    assert "\x1b" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| ✘")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [7, 4, 7]
    screen = printed(hostile(), 100)
    assert "\x1b" not in screen
    assert "\u202e" not in screen


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_page_of_each_verdict_loads_nothing(tmp_path: Path, verdict: Verdict) -> None:
    page = report_html(CASES[verdict], open_run(write_run(tmp_path / "run", seconds=42)))
    assert_harmless(page)
    assert page.count("<svg") == page.count("</svg>") > 0


def test_the_page_survives_any_missing_evidence(tmp_path: Path) -> None:
    for missing in ("plan.json", "timeline.ndjson", "generator.ndjson", "samples/w0.arrow"):
        folder = write_run(tmp_path / missing.replace("/", "-"), seconds=42)
        (folder / missing).unlink()
        assert "FAIL" in report_html(CASES[Verdict.FAIL], open_run(folder))
    folder = write_run(tmp_path / "torn", seconds=42)
    path = folder / "samples" / "w0.arrow"
    path.write_bytes(path.read_bytes()[:-5000])
    assert "torn after" in report_html(CASES[Verdict.FAIL], open_run(folder))
    (tmp_path / "empty").mkdir()
    assert "The run left no timeline" in report_html(
        CASES[Verdict.ERROR], open_run(tmp_path / "empty")
    )


@pytest.mark.parametrize(("objectives", "cells_each"), [(60, 60), (700, 20), (2500, 0)])
def test_a_summary_fits_githubs_limit_with_every_objective_in_it(
    objectives: int, cells_each: int
) -> None:
    cells = tuple(
        Cell(name=f"cell {i} " + "x" * 200, verdict=Verdict.FAIL, why="y" * 300)
        for i in range(cells_each)
    )
    many = tuple(
        finding(f"objective-{i:04}", "latency", Verdict.FAIL, "z" * 900, cells=cells)
        for i in range(objectives)
    )
    text = summary_md(replace(CASES[Verdict.FAIL], objectives=many))
    assert len(text.encode()) <= MAX_BYTES
    assert all(f.name in re.sub(r"\\(.)", r"\1", text) for f in many)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_console_fits_its_width_and_its_encoding(width: int, encoding: str) -> None:
    for judgement in (*CASES.values(), WAIVED):
        text = printed(judgement, width, encoding)
        assert judgement.verdict.value in text
        # Paths and commands stay whole, so that they can be copied; everything else wraps.
        long = [line for line in text.splitlines() if len(line.rstrip()) > width]
        assert all(re.match(r"  (Evidence|Report|Next|        )  ", line) for line in long), long


def test_no_colour_means_no_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" in printed(CASES[Verdict.FAIL], force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", printed(CASES[Verdict.FAIL], force_terminal=True))
    assert "\x1b" not in printed(CASES[Verdict.FAIL])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ms", "–"), (1.0, "share", "100 %"), (0.99992119, "share", "99.9921 %"), (0.99999999, "share", "99.999999 %"),
        (0.0, "share", "0 %"), (0.0000788, "share", "0.0079 %"), (0.5, "share", "50 %"), (21.4, "ms", "21.4 ms"), (0.043, "s", "43 ms"),
        (8.204, "s", "8.2 s"), (math.inf, "ms", "never"), (math.inf, "share", "∞"), (math.nan, "ms", "–"), (38012, "", "38,012"),
        (1234.5, "requests", "1,234 requests"), (-0.02, "share", "-2 %"),
    ],
)  # fmt: skip
def test_amounts(value: float | None, unit: str, text: str) -> None:
    assert amount(value, unit) == text


@given(st.floats(0, 1))
def test_a_share_is_never_rounded_to_all_or_nothing(value: float) -> None:
    assert (percent(value) == "100 %") == (value == 1)
    assert float(percent(value).rstrip(" %")) <= 100


def test_a_proof_of_many_parts_is_told_in_few_words() -> None:
    proof = [{"component": f"c{i}", "saw": "refused", "at_ns": 123} for i in range(28)]
    assert short(proof) == "c0 refused; c1 refused and 26 more"
    assert short("plain") == "plain"


def test_stretches_of_time() -> None:
    assert [seconds(s) for s in (0, 4.4, 99, 125, 3600, 3780, 7200)] == [
        "0 s",
        "4 s",
        "99 s",
        "2 min 5 s",
        "60 min",
        "63 min",
        "2 h",
    ]


@pytest.mark.parametrize("width", [1, 12, 16, 24, 30, 40, 56, 66, 80, 200])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_verdict_is_never_broken_however_narrow_the_screen(width: int, encoding: str) -> None:
    for judgement in (*CASES.values(), WAIVED):
        lines = printed(judgement, width, encoding).splitlines()
        assert any(judgement.verdict.value in line for line in lines[:4])
        for f in judgement.objectives:
            words = f"{f.verdict} (waived)" if f.waived else f.verdict.value
            assert any(words in line for line in lines), words
            # Figures and names are whole once the line breaks are taken out.
            flat = re.sub(r"\s+", "", "".join(lines))
            assert re.sub(r"\s+", "", f.name) in flat
            assert f"{f.samples:,}" in flat


@pytest.mark.parametrize("columns", ["0", "", "40", "no"])
def test_columns_that_say_nothing_hide_nothing(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    print_judgement(CASES[Verdict.INCONCLUSIVE], Path("reports/run"))
    assert capsys.readouterr().out.count("INCONCLUSIVE") >= 3


def test_a_pass_over_cells_that_do_not_says_why() -> None:
    latency = CASES[Verdict.PASS].objectives[1]
    told = replace(latency, detail={"covered": 0.91, "coverage": 0.9})
    judgement = replace(CASES[Verdict.PASS], objectives=(told,))
    words = (
        "read-p95 passed although 2 cells do not (sao-paulo, singapore): it wants 90 % of the "
        "users within it, 91 % are"
    )
    assert spared(judgement) == [words]
    assert words in re.sub(r"\s+", " ", printed(judgement))
    assert "sao-paulo, singapore" in summary_md(judgement)
    page = report_html(judgement)
    assert words in page
    assert "2 of 4 cells hold, limit 50 ms (it wants 90 % of the users" in page
    assert spared(CASES[Verdict.FAIL]) != []  # an objective that passed, in a gate that did not


def test_a_pass_without_a_fault_says_so() -> None:
    def tried(faults: int) -> Judgement:
        rule = finding("faults", "validity", Verdict.PASS, "no fault planned", samples=faults)
        return replace(CASES[Verdict.PASS], validity=(rule,))

    assert untried(tried(1)) == []
    for text in (printed(tried(0)), summary_md(tried(0)), report_html(tried(0))):
        assert "No fault was tried" in re.sub(r"\s+", " ", text)
    assert "no fault was tried" in summary_md(tried(0))
    assert "every fault was proven" in summary_md(tried(1))


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ({"quantile": 0.95, "lte_ms": 50}, "read: p95 50 ms"),
        (
            {"quantile": 0.95, "lte_ms": 50, "where": {"op": ["read"]}, "coverage": 0.9},
            "read: p95 of read 50 ms, per population, 90 % of the users",
        ),
        (
            {"quantile": 0.999, "lte_ms": 1500, "by": ["population", "route"]},
            "read: p99.9 1,500 ms, per population and route",
        ),
        ({"lte_ms": 50, "where": {"population": "london"}}, "read: of london 50 ms"),
    ],
)
def test_a_limit_says_what_it_belongs_to(spec: dict[str, Any], label: str) -> None:
    objective = Objective(name="read", kind="latency", spec=spec)
    assert limit_label(objective, spec["lte_ms"]) == label
