"""The laws of the evidence, each broken once in a run that passes: none may pass any more, and each
is named.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.golden.judge_writer import S, objective, plan_of, rows_of, synthetic, write_folder

from stormgate.evidence import open_run
from stormgate.evidence.laws import RowLaws, generator_problem
from stormgate.judge import judge
from stormgate.judge.synthetic import MemoryRun
from stormgate.model import Judgement, Verdict

PLAN = plan_of(
    [objective("availability", target=0.99), objective("failover", lte_s=5)],
    steady_s=30,
    rate=100,
    faults=["kill"],
)


def healthy() -> MemoryRun:
    return synthetic(PLAN, rows_of(PLAN, fault_s=10), fault_s=10)


def with_column(batch: Any, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    at = batch.schema.get_field_index(name)
    old = batch.column(at)
    values = old.to_numpy(zero_copy_only=False).copy()
    return batch.set_column(at, batch.schema.field(at), pa.array(change(values), old.type))


def at_row(row: int, value: Callable[[int], int]) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[row % len(values)] = value(int(values[row % len(values)]))
        return values

    return change


SAMPLES: dict[str, tuple[str, Callable[[int], int]]] = {
    "done_ns is before intended_ns": ("done_ns", lambda _: 0),
    "sent_ns is before intended_ns": ("sent_ns", lambda ns: ns - S),
    "done_ns is before sent_ns": ("sent_ns", lambda ns: ns + S),
    "intended_ns is before the run began": ("intended_ns", lambda _: 5),
    "done_ns is after the run ended": ("done_ns", lambda ns: ns + 10_000 * S),
    "attempt is 0": ("attempt", lambda _: 0),
}


@pytest.mark.parametrize("law", SAMPLES)
@given(row=st.integers(0, 5000))
@settings(max_examples=5, deadline=None)
def test_a_row_that_breaks_a_law_is_named_and_nothing_passes(law: str, row: int) -> None:
    run = healthy()
    column, value = SAMPLES[law]
    worker, batch = run.blocks[0]
    run.blocks[0] = (worker, with_column(batch, column, at_row(row, value)))
    judgement = judge(run)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    problems = next(f for f in judgement.validity if f.name == "samples").detail["problems"]
    assert any(law in problem and worker in problem for problem in problems)


def test_the_healthy_run_passes() -> None:
    assert judge(healthy()).verdict is Verdict.PASS


def test_the_same_attempt_twice() -> None:
    run = healthy()
    worker, batch = run.blocks[0]
    run.blocks[0] = (
        worker,
        with_column(batch, "request", lambda v: np.where(np.arange(len(v)) == 7, v[3], v)),
    )
    judgement = judge(run)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "stands there twice" in judgement.why


def test_later_attempts_are_told_apart() -> None:
    laws = RowLaws()
    columns = {
        "intended_ns": np.array([1, 1, 1]),
        "done_ns": np.array([2, 2, 2]),
        "sent_ns": np.array([1, 1, 1]),
        "was_sent": np.ones(3, bool),
        "ghost": np.zeros(3, bool),
        "not_sent": np.zeros(3, bool),
        "ok": np.zeros(3, bool),
        "known": np.ones(3, bool),
        "known_op": np.ones(3, bool),
        "nobody": np.zeros(3, bool),
        "nowhere": np.zeros(3, bool),
        "request": np.array([4, 4, 4], np.uint64),
        "attempt": np.array([1, 2, 3], np.uint8),
    }
    laws.check("w", columns)
    assert laws.problems() == []
    laws.check("w", {**columns, "attempt": np.array([4, 5, 2], np.uint8)})
    assert laws.problems() == ["samples of w: request 4, attempt 2 stands there twice"]


GENERATOR: dict[str, Any] = {
    "send_lag_p99_ms": None,
    "send_lag_max_ms": float("nan"),
    "cpu": None,
    "planned": "31",
    "sent": -1,
    "not_sent": float("inf"),
    "window_s": True,
    "rows": None,
}


@pytest.mark.parametrize("key", GENERATOR)
def test_a_generator_row_without_its_numbers_says_nothing(key: str) -> None:
    run = healthy()
    for row in run.generator:
        row[key] = GENERATOR[key]
    assert judge(run).verdict is Verdict.INCONCLUSIVE
    row = dict(healthy().generator[5])
    assert generator_problem(row) is None
    del row[key]
    assert key in (generator_problem(row) or "")


def test_no_lag_is_needed_where_nothing_was_sent() -> None:
    row = {**healthy().generator[5], "sent": 0, "send_lag_p99_ms": None, "send_lag_max_ms": None}
    assert generator_problem(row) is None


def test_requests_without_a_row_are_counted() -> None:
    run = healthy()
    for row in run.generator[:40]:
        row["planned"] += 3
        row["sent"] += 3
    judgement = judge(run)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "have no row" in judgement.why
    run = healthy()
    run.generator[3]["planned"] += 1
    assert "1 are not accounted for" in judge(run).why


def test_what_is_in_flight_excuses_no_more_than_the_counts_allow() -> None:
    run = healthy()
    for row in run.generator:
        row["in_flight"] = 1_000_000
    assert judge(run).verdict is Verdict.PASS
    for row in run.generator[:40]:
        for key in ("planned", "sent", "completed"):
            row[key] += 3
    judgement = judge(run)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "have no row" in judgement.why


@pytest.mark.parametrize("event", ["phase.begin", "phase.end"])
def test_a_phase_that_begins_or_ends_twice_is_none(event: str) -> None:
    run = healthy()
    mark = next(r for r in run.timeline if r["event"] == event and r["phase"] == "steady")
    run.timeline.insert(0, {**mark, "at_ns": mark["at_ns"] - 1000 * S})
    judgement = judge(run)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert f"{event} of steady 2 times" in judgement.why


@pytest.mark.parametrize("spoil", ["window", "row"])
def test_time_that_no_row_speaks_of_is_not_fit(spoil: str) -> None:
    run = healthy()
    if spoil == "window":
        for row in run.generator:
            row["window_s"] = 0.0001
    else:
        run.generator = [r for r in run.generator if r["seq"] % 2 or r["final"]]
    assert judge(run).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("proof", [None, "", [], {}, {"none": None}, [{"saw": " "}]])
def test_an_observation_without_proof_is_none(proof: Any) -> None:
    run = healthy()
    for row in run.timeline:
        if row["event"] == "fault.observed":
            row["proof"] = proof
    assert judge(run).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("late_s", [-9, 60])
def test_an_observation_outside_the_fault_is_none(late_s: int) -> None:
    run = healthy()
    for row in run.timeline:
        if row["event"] == "fault.observed":
            row["at_ns"] += late_s * S
    assert judge(run).verdict is Verdict.INCONCLUSIVE


def test_a_phase_cut_short_is_not_the_phase_planned() -> None:
    short = plan_of(PLAN.objectives, steady_s=10, rate=100, faults=["kill"])
    run = synthetic(short, rows_of(short, fault_s=10), fault_s=10)
    run.plan = PLAN
    judgement = judge(run)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "steady lasted 10.0 s of the 30 s planned" in judgement.why


# --- folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(healthy(), tmp_path / "run")


def judged(folder: Path) -> Judgement:
    return judge(open_run(folder))


def rewrite(folder: Path, change: Callable[[Any], Any]) -> None:
    """Every samples file with each batch changed."""
    for path in (folder / "samples").glob("*.arrow"):
        with pa.ipc.open_stream(path.read_bytes()) as reader:
            batches = [change(batch) for batch in reader]
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, batches[0].schema) as out:
            for batch in batches:
                out.write_batch(batch)


def cast(batch: Any, kinds: dict[str, Any]) -> Any:
    for name, kind in kinds.items():
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, pa.field(name, kind), batch.column(at).cast(kind))
    return batch


def test_what_may_be_written_in_more_than_one_way(folder: Path) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    assert judged(folder).verdict is Verdict.PASS
    shuffled = dict(sorted(plan.items(), reverse=True))
    (folder / "plan.json").write_text(json.dumps(shuffled, indent=3))
    assert judged(folder).verdict is Verdict.PASS
    times = {name: pa.uint64() for name in ("intended_ns", "sent_ns", "done_ns")}
    rewrite(folder, lambda batch: cast(batch, times))
    assert judged(folder).verdict is Verdict.PASS
    words = {name: pa.string() for name in ("population", "route", "op", "outcome", "shard")}
    rewrite(folder, lambda batch: cast(batch, words))
    assert judged(folder).verdict is Verdict.PASS


def test_a_column_of_another_kind_is_named_with_what_is_wanted(folder: Path) -> None:
    rewrite(folder, lambda batch: cast(batch, {"done_ns": pa.float64()}))
    assert "column 'done_ns' is double, not int64 of nanoseconds" in judged(folder).why
    rewrite(folder, lambda batch: batch.drop_columns(["outcome"]))
    assert judged(folder).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("schema", ["stormgate.plan/2", None, 7])
def test_an_unknown_version_of_the_plan_is_refused(folder: Path, schema: Any) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "schema": schema}))
    judgement = judged(folder)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "stormgate.plan/1" in judgement.why


def test_an_unknown_version_of_the_samples_is_refused(folder: Path) -> None:
    rewrite(folder, lambda b: b.replace_schema_metadata({"schema": "stormgate.samples/9"}))
    judgement = judged(folder)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "stormgate.samples/9" in judgement.why


def _deep(path: Path) -> None:
    path.write_text("[" * 100_000 + "]" * 100_000)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _nulls(path: Path) -> None:
    path.write_text('{"at_ns": null, "event": "phase.begin", "phase": "steady"}\n{"at_ns": 1e9}\n')


@pytest.mark.parametrize("spoil", [_deep, _folder, _pipe, _device, _nulls])
@pytest.mark.parametrize(
    "name",
    ["plan.json", "timeline.ndjson", "generator.ndjson", "journals/kill.json", "undo.ndjson"],
)
def test_a_hostile_file_is_named_and_never_waited_for(
    folder: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    spoil(folder / name)
    judgement = judged(folder)
    assert judgement.verdict is not Verdict.PASS
    assert judgement.verdict is not Verdict.FAIL


@pytest.mark.parametrize("spoil", [_deep, _folder, _pipe, _device])
def test_hostile_samples(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder / "samples" / "worker-0.arrow")
    assert judged(folder).verdict is Verdict.INCONCLUSIVE
