"""The traces of a run on its page: which way requests failed, and single ones span by span."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.golden.report_cases import CASES, HOSTILE, plan, write_run

from stormgate.evidence import open_run
from stormgate.evidence.laws import trace_problem
from stormgate.model import Verdict
from stormgate.report import report_html
from stormgate.report.html.traces import trace_section
from stormgate.report.series.traces import failed_steps, traces_told, tree
from stormgate.supervise.receiver import span_rows

S = 1_000_000_000


def span(trace: str, number: str, parent: str = "", **more: Any) -> dict[str, Any]:
    row = {
        "at_ns": 1_040 * S,
        "trace": trace,
        "span": number,
        "parent": parent,
        "kind": "server",
        "status": 200,
        "service": "edge",
        "name": "GET /threads",
        **more,
    }
    assert trace_problem(row) is None
    return row


def failed(trace: str, **more: Any) -> list[dict[str, Any]]:
    """An edge that calls a service, which never answers."""
    at = 1_700_000_000 * S
    return [
        span(trace, "1", status=503, begin_unix_ns=at, duration_ms=40.0, error=True, **more),
        span(
            trace,
            "2",
            "1",
            kind="client",
            status=0,
            error=True,
            begin_unix_ns=at + 2_000_000,
            duration_ms=30.0,
            name="core",
        ),
    ]


def test_traces_that_failed_alike_are_one_way() -> None:
    rows = [*failed("a"), *failed("b", at_ns=1_050 * S), span("c", "1"), span("d", "1", status=500)]
    told = traces_told(rows)
    assert [(way.steps, len(way.traces), way.broken) for way in told.ways] == [
        (("edge GET /threads 503", "edge core no answer"), 2, None),
        (("edge GET /threads 500",), 1, None),
    ]
    assert (told.ways[0].first_ns, told.ways[0].last_ns) == (1_040 * S, 1_050 * S)
    (operation,) = told.operations
    assert (operation.spans, operation.failed, operation.took_ms) == (4, 3, [40.0, 40.0])
    assert told.slowest == []  # nobody told how long the fine one took


def test_a_call_without_a_status_is_no_failure_by_itself() -> None:
    # A call to a database has no HTTP status; who made it says whether it failed.
    assert failed_steps([span("a", "1"), span("a", "2", "1", kind="client", status=0)]) == ()


@pytest.mark.parametrize(
    ("parents", "depths"),
    [
        ({"1": "", "2": "1", "3": "2"}, [0, 1, 2]),
        ({"1": "gone", "2": "1"}, [0, 1]),
        ({"1": "2", "2": "1"}, [0, 1]),  # a circle: each is shown, once
        ({"1": "1"}, [0]),
        ({"1": "", "2": "1", "3": "1"}, [0, 1, 1]),
    ],
)
def test_every_span_is_shown_once_below_its_parent(
    parents: dict[str, str], depths: list[int]
) -> None:
    shown = tree([span("a", number, parent) for number, parent in parents.items()])
    assert [one.depth for one in shown] == depths


def test_a_chain_of_any_depth_is_walked() -> None:
    rows = [span("a", str(n), str(n - 1) if n else "") for n in range(5000)]
    assert tree(rows)[-1].depth == 4999
    assert str(trace_section(rows, plan(), 1_000 * S).drawn).count("<tr>") < 100


def test_the_page_shows_what_was_told_and_escapes_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    rows = [*failed("ab12"), *failed("cd34", service=HOSTILE, name=HOSTILE)]
    (folder / "traces.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = report_html(CASES[Verdict.FAIL], open_run(folder))
    section = page[page.index('id="traces"') : page.index('id="generator"')]
    assert "4 spans of 2 traces were received, from 40.0 to 40.0 s" in section
    assert "edge GET /threads 503 → edge core no answer" in section
    assert "<script>alert" not in section
    assert section.count('<details class="trace">') == 2
    assert section.count('class="bad"') == 4
    for anchor in re.findall(r'href="#(trace-[^"]+)"', section):
        assert f'id="{anchor}"' in section


def test_a_request_of_the_worst_leads_to_its_trace(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "samples" / "w0.arrow"
    with pa.ipc.open_stream(path.read_bytes()) as reader:
        batches = list(reader)
    whole = pa.Table.from_batches(batches).combine_chunks().unify_dictionaries()
    outcomes = whole["outcome"].to_pylist()
    names = [
        None if outcome == "ok" else f"trace-{n}" if n % 2 else "lost"
        for n, outcome in enumerate(outcomes)
    ]
    whole = whole.append_column("trace", pa.array(names).dictionary_encode())
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    rows = [one for name in names if name and name != "lost" for one in failed(name)]
    (folder / "traces.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = report_html(CASES[Verdict.FAIL], open_run(folder))
    worst = page[page.index('id="worst"') : page.index('id="traces"')]
    links = re.findall(r'href="#(trace-trace-\d+)" title="(trace-\d+)"', worst)
    assert links
    for anchor, trace in links:
        assert anchor == f"trace-{trace}"
        assert f'<div id="{anchor}">' in page
    assert "lost</span>, never received" in worst
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert any(data["words"][row[10]].startswith("trace-") for row in data["worst"])


def test_without_traces_there_is_no_section_unless_they_were_asked_for(tmp_path: Path) -> None:
    page = report_html(CASES[Verdict.FAIL], open_run(write_run(tmp_path / "run")))
    assert 'id="traces"' not in page
    assert ">Trace<" not in page


def test_the_receiver_keeps_when_and_how_long() -> None:
    one = {
        "traceId": "AB",
        "spanId": "C",
        "kind": 2,
        "status": {"code": 2},
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000012500000",
    }
    backwards = {**one, "endTimeUnixNano": "1600000000000000000", "status": {}}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [one, backwards]}]}]}
    first, second = span_rows(json.dumps(body).encode(), 7)
    assert (first["begin_unix_ns"], first["duration_ms"], first["error"]) == (
        1_700_000_000 * S,
        12.5,
        True,
    )
    assert "duration_ms" not in second
    assert second["error"] is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"duration_ms": -1},
        {"duration_ms": None},
        {"duration_ms": float("nan")},
        {"error": 1},
        {"begin_unix_ns": 0},
        {"begin_unix_ns": "1"},
    ],
)
def test_a_time_that_is_none_breaks_the_law(wrong: dict[str, Any]) -> None:
    row = {**span("a", "1"), **wrong}
    assert next(iter(wrong)) in str(trace_problem(row))
