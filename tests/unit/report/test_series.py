"""What the page draws is what was measured: requests not attempts, exact counts, and no request in
a line whose limit is not about it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.golden.report_cases import plan

from stormgate.evidence import open_run
from stormgate.model import Objective
from stormgate.report.charts.svg import area_path, decades, step_path
from stormgate.report.html.run import latency_cuts
from stormgate.report.series.collect import LATE, ChartWindow, collect, width_for
from stormgate.report.series.cuts import MOST_GROUPS, OTHERS, Cut, CutCounter

S = 1_000_000_000
MS = 1_000_000


def folder_of(path: Path, rows: list[dict[str, Any]], phases: str = "") -> Path:
    """A run folder of these rows; what a row does not say is a good read of 10 ms by london."""
    import pyarrow as pa

    (path / "samples").mkdir(parents=True)
    (path / "timeline.ndjson").write_text(phases)
    usual = {"population": "london", "route": "list", "op": "read", "outcome": "ok"}
    usual |= {"attempt": 1, "status": 200, "ms": 10.0}
    whole = [{**usual, "request": i, **row} for i, row in enumerate(rows)]
    at = [round(row["at"] * S) for row in whole]
    columns = {
        "intended_ns": pa.array(at),
        "sent_ns": pa.array(at),
        "done_ns": pa.array([t + round(r["ms"] * MS) for t, r in zip(at, whole, strict=True)]),
        "request": pa.array([r["request"] for r in whole], pa.uint64()),
        "attempt": pa.array([r["attempt"] for r in whole], pa.uint8()),
        "status": pa.array([r["status"] for r in whole], pa.uint16()),
        "bytes_in": pa.array([1 for _ in whole], pa.uint32()),
    }
    for name in ("population", "route", "op", "outcome", "served_by"):
        columns[name] = pa.array([r.get(name) for r in whole], pa.string()).dictionary_encode()
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    with (
        pa.OSFile(str(path / "samples" / "w0.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, batch.schema) as writer,
    ):
        for begin in range(0, batch.num_rows, 7):
            writer.write_batch(batch.slice(begin, 7))
    return path


def test_a_request_is_counted_once_by_its_last_attempt_from_its_first_start(tmp_path: Path) -> None:
    rows = [
        {"at": 0.5, "request": 1, "outcome": "reset", "status": 0, "ms": 5},
        {"at": 1.5, "request": 1, "attempt": 2, "ms": 20},
        {"at": 2.5, "request": 2, "outcome": "bad_status", "status": 503, "ms": 1},
        {"at": 2.6, "request": 3, "ms": 3000},
    ]
    series = collect(open_run(folder_of(tmp_path / "run", rows)), 0, 4 * S, 2000.0, [])
    assert series.total == [1, 0, 2, 0]
    assert series.good == [1, 0, 0, 0]
    assert series.outcomes == {"ok": [1, 0, 0, 0], "bad_status": [0, 0, 1, 0], LATE: [0, 0, 1, 0]}
    assert series.failures == {"bad_status": 1}
    assert [one.latency_ms for one in series.worst[0]] == [1020.0]
    assert (series.worst[0][0].attempt, series.worst[0][0].outcome) == (2, "ok")


def test_a_bin_knows_its_worst_requests_whole(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    rows = [
        {"at": float(t), "ms": float(ms)}
        for t, ms in zip(draw.uniform(0, 3, 500), draw.uniform(1, 900, 500), strict=True)
    ]
    rows.append(
        {"at": 1.5, "ms": 1.0, "outcome": "refused", "status": 0, "route": "<b>", "served_by": "x"}
    )
    series = collect(open_run(folder_of(tmp_path / "run", rows)), 0, 3 * S, None, [])
    for second, kept in enumerate(series.worst):
        mine = [r for r in rows if int(r["at"]) == second]
        mine.sort(key=lambda r: (r.get("outcome", "ok") == "ok", -r["ms"]))
        assert [one.latency_ms for one in kept] == [round(r["ms"], 3) for r in mine[:5]]
    first = series.worst[1][0]
    assert (first.outcome, first.route, first.served_by, first.op) == (
        "refused",
        "<b>",
        "x",
        "read",
    )
    whole = series.cuts["all"].groups["all"]
    assert whole.max_ms == pytest.approx(max(r["ms"] for r in rows))


def test_no_request_stands_in_a_line_whose_limit_is_not_about_it(tmp_path: Path) -> None:
    rows = [{"at": i / 50, "ms": 10} for i in range(100)]
    rows += [{"at": i / 50, "ms": 900, "op": "write"} for i in range(100)]
    rows += [{"at": i / 50, "ms": 70, "population": "lagos"} for i in range(100)]
    spec = {"quantile": 0.95, "lte_ms": 50, "where": {"op": ["read"]}, "coverage": 0.9}
    objective = Objective(name="read", kind="latency", spec=spec)
    from dataclasses import replace

    held = latency_cuts(replace(plan(), objectives=(objective,)))
    assert [(cut.columns, cut.where, q, limit.ms) for cut, q, limit in held] == [
        (("population",), {"op": ("read",)}, 0.95, 50)
    ]
    series = collect(open_run(folder_of(tmp_path / "run", rows)), 0, 2 * S, None, [], [held[0][0]])
    groups = series.cuts["objective read"].groups
    assert {name: group.count for name, group in groups.items()} == {"lagos": 100, "london": 100}
    assert all(v is None or v < 11 for v in groups["london"].quantiles_ms[0.95])
    assert series.cuts["op"].groups["write"].count == 100


def test_a_quantile_among_failures_is_no_number(tmp_path: Path) -> None:
    rows = [{"at": 0.1 + i / 100, "outcome": "ok" if i % 2 else "reset"} for i in range(80)]
    series = collect(open_run(folder_of(tmp_path / "run", rows)), 0, S, None, [])
    group = series.cuts["population"].groups["london"]
    assert group.quantiles_ms[0.95] == [math.inf]
    assert group.overall_ms(0.99) == math.inf
    assert group.failed == 40
    assert group.max_ms == pytest.approx(10)


def test_phases_part_the_distribution(tmp_path: Path) -> None:
    phases = "".join(
        f'{{"at_ns": {at}, "event": "phase.begin", "phase": "{name}"}}\n'
        for at, name in ((1 * S, "steady"), (2 * S, "fault[x]"), (3 * S, "recovery[x]"))
    )
    rows = [{"at": at} for at in (0.5, 1.2, 1.3, 2.1, 3.5, 3.6, 3.7)]
    series = collect(open_run(folder_of(tmp_path / "run", rows, phases)), 0, 4 * S, None, [])
    stages = series.cuts["all"].groups["all"].stages
    assert stages.sum(axis=1).tolist() == [1, 2, 1, 3]


def test_a_steady_phase_has_two_halves(tmp_path: Path) -> None:
    phases = "".join(
        f'{{"at_ns": {at}, "event": "phase.{event}", "phase": "{name}"}}\n'
        for at, event, name in (
            (1 * S, "begin", "steady"),
            (3 * S, "end", "steady"),
            (3 * S, "begin", "final"),
        )
    )
    rows = [{"at": at, "ms": at} for at in (0.5, 1.2, 1.3, 1.9, 2.1, 3.5)]
    series = collect(open_run(folder_of(tmp_path / "run", rows, phases)), 0, 4 * S, None, [])
    group = series.cuts["all"].groups["all"]
    assert group.halves.sum(axis=1).tolist() == [3, 1]
    assert group.stages.sum(axis=1).tolist() == [1, 5, 0, 0]
    assert group.count == 6


def test_windows_are_counted_finely(tmp_path: Path) -> None:
    rows = [{"at": 0.9}, {"at": 1.1}, {"at": 1.3, "outcome": "reset"}, {"at": 2.6}]
    window = ChartWindow("f", S, 2 * S)
    series = collect(open_run(folder_of(tmp_path / "run", rows)), 0, 3 * S, None, [window])
    assert series.fine == {("f", "london"): ([1, 1, 0, 0], [1, 0, 0, 0])}


def test_samples_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    import pyarrow as pa

    folder = folder_of(tmp_path / "run", [{"at": 0.1}])
    batch = pa.RecordBatch.from_arrays([pa.array([1])], names=["intended_ns"])
    with (
        pa.OSFile(str(folder / "samples" / "w1.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)
    series = collect(open_run(folder), 0, S, None, [])
    assert len(series.problems) == 1
    assert "w1" in series.problems[0]
    assert series.total == [1]


def test_names_without_end_are_folded_not_kept() -> None:
    counter = CutCounter(Cut("route", ("route",)), 1, 1)
    numbers = [counter._group(f"r{n}") for n in range(MOST_GROUPS + 50)]
    assert counter.folded
    assert counter.names[-1] == OTHERS
    assert len(counter.names) == MOST_GROUPS + 1
    assert set(numbers[MOST_GROUPS:]) == {MOST_GROUPS}


def test_lines_break_where_nothing_was_measured() -> None:
    assert step_path([1, 1, None, 3], 10) == "M0,1H20M30,3H40"
    assert step_path([None, None], 10) == ""
    assert area_path([5, 5, 5], [5, 2, 5], 10) == "M10,5V2H20V5H10Z"
    assert area_path([0, 0], [1, 1], 10).count("M") == 1


def test_a_log_axis_holds_its_values() -> None:
    for values in ([6.0, 180.0], [0.2], [99.0, 101.0], [1e-3, 1e5], [50, 50]):
        low, high = decades(values)
        assert low <= max(0.1, min(values))
        assert high >= max(values)
        assert high / low >= 10
    assert decades([6.0, 180.0])[0] == 5
    assert [width_for(s) for s in (60, 800, 86_400)] == [0.25, 1, 300]
