"""The run folder: appending from many processes, reading what is torn, following what grows,
sealing and checking.
"""

from __future__ import annotations

import json
import multiprocessing
import random
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from stormgate.evidence import open_run
from stormgate.evidence.folder import create_run_folder
from stormgate.evidence.live import LiveSamples, NdjsonTail
from stormgate.evidence.manifest import check_manifest, write_manifest
from stormgate.evidence.read import phases_of, read_ndjson
from stormgate.evidence.write import Journal, Timeline
from stormgate.model import Event
from stormgate.system.files import write_atomically

WORDS = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema([("done_ns", pa.int64()), ("route", WORDS)])


def stream_of(blocks: int, *, deltas: bool) -> bytes:
    """A stream whose dictionary grows from block to block, as a worker's does."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=deltas)
    with pa.ipc.new_stream(sink, SCHEMA, options=options) as writer:
        for block in range(blocks):
            routes = pa.DictionaryArray.from_arrays(
                pa.array([block // 3], pa.int32()), [f"route {i}" for i in range(block // 3 + 1)]
            )
            writer.write_batch(
                pa.record_batch([pa.array([block], pa.int64()), routes], schema=SCHEMA)
            )
    return sink.getvalue().to_pybytes()


def append_rows(path: Path, writer: int, rows: int) -> None:
    with Journal(path) as journal:
        for row in range(rows):
            journal.append({"writer": writer, "row": row, "filler": "x" * 500})


def test_rows_of_several_processes_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "j.ndjson"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_rows, args=(path, number, 200)) for number in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(60)
    rows, problems = read_ndjson(path)
    assert problems == []
    assert sorted((row["writer"], row["row"]) for row in rows) == [
        (w, r) for w in range(3) for r in range(200)
    ]


def test_a_torn_last_row_and_a_row_that_is_no_object_are_named(tmp_path: Path) -> None:
    path = tmp_path / "timeline.ndjson"
    path.write_bytes(b'{"a":1}\n[2]\n{"b":2}\n{"c":')
    rows, problems = read_ndjson(path)
    assert rows == [{"a": 1}, {"b": 2}]
    assert problems == [
        "timeline.ndjson:4: the last row is torn",
        "timeline.ndjson:2: not a JSON object",
    ]


def test_phases_keep_their_order_and_one_cut_short_has_no_end(tmp_path: Path) -> None:
    with Timeline(tmp_path) as timeline:
        timeline.write(Event.PHASE_BEGIN, at_ns=1, phase="warmup")
        timeline.write(Event.PHASE_END, at_ns=5, phase="warmup")
        timeline.write(Event.PHASE_BEGIN, at_ns=5, phase="steady")
    phases = phases_of(open_run(tmp_path).timeline)
    assert [(p.name, p.begin_ns, p.end_ns) for p in phases] == [
        ("warmup", 1, 5),
        ("steady", 5, None),
    ]


@pytest.mark.parametrize("deltas", [True, False])
def test_a_growing_stream_is_followed_block_by_block_however_it_is_cut(
    tmp_path: Path, deltas: bool
) -> None:
    data = stream_of(20, deltas=deltas)
    (tmp_path / "samples").mkdir()
    live, seen, chance = LiveSamples(tmp_path), [], random.Random(7)
    position = 0
    with (tmp_path / "samples" / "w.arrow").open("wb", buffering=0) as file:
        while position < len(data):
            step = chance.randint(1, 300)
            file.write(data[position : position + step])
            position += step
            seen += [
                (batch.column(0)[0].as_py(), batch.column(1)[0].as_py()) for _, batch in live.poll()
            ]
            assert len(seen) <= 20
    live.close()
    assert seen == [(block, f"route {block // 3}") for block in range(20)]


def test_a_cut_stream_gives_every_whole_block_and_says_it_is_torn(tmp_path: Path) -> None:
    data = stream_of(10, deltas=False)
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "w.arrow").write_bytes(data[: len(data) // 2])
    run = open_run(tmp_path)
    blocks = list(run.batches())
    assert 0 < len(blocks) < 10
    assert run.sample_files["w"].rows == len(blocks)
    assert not run.sample_files["w"].ended
    assert any("torn" in problem for problem in run.problems)


def test_a_stream_cut_between_blocks_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    """pyarrow ends silently there: only the missing end-of-stream marker tells."""
    data = stream_of(4, deltas=False)
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "w.arrow").write_bytes(data[:-8])
    run = open_run(tmp_path)
    assert len(list(run.batches())) == 4
    assert run.problems == []
    assert not run.sample_files["w"].ended


def test_samples_of_all_workers_make_one_frame(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for worker in ("a", "b"):
        (tmp_path / "samples" / f"{worker}.arrow").write_bytes(stream_of(5, deltas=True))
    frame = open_run(tmp_path).samples()
    assert len(frame) == 10
    assert sorted(frame["worker"].unique()) == ["a", "b"]
    assert list(frame.loc[frame["worker"] == "b", "route"].astype(str)) == [
        f"route {b // 3}" for b in range(5)
    ]


def test_missing_files_are_problems_and_not_exceptions(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    assert run.plan is None
    assert (run.timeline, run.generator, run.readings, run.undo, run.journals) == (
        [],
        [],
        [],
        [],
        {},
    )
    assert list(run.batches()) == []
    assert set(run.problems) == {
        "plan.json: missing",
        "timeline.ndjson: missing",
        "generator.ndjson: missing",
        "samples: no file",
    }


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such run folder"):
        open_run(tmp_path / "nowhere")


def test_a_tail_returns_only_whole_new_rows(tmp_path: Path) -> None:
    tail = NdjsonTail(tmp_path / "t.ndjson")
    assert tail.poll() == []
    (tmp_path / "t.ndjson").write_bytes(b'{"n":1}\n{"n":')
    assert tail.poll() == [{"n": 1}]
    with (tmp_path / "t.ndjson").open("ab") as file:
        file.write(b"2}\n")
    assert tail.poll() == [{"n": 2}]
    assert tail.poll() == []


def test_a_sealed_folder_tells_what_was_changed_added_and_taken(tmp_path: Path) -> None:
    for name in ("plan.json", "timeline.ndjson", "junit.xml"):
        (tmp_path / name).write_text(name)
    assert check_manifest(tmp_path) == ["manifest.json: missing (the run did not end by itself)"]
    write_manifest(tmp_path)
    assert check_manifest(tmp_path) == []
    (tmp_path / "plan.json").write_text("other")
    (tmp_path / "junit.xml").unlink()
    (tmp_path / "new.txt").write_text("")
    assert check_manifest(tmp_path) == [
        "junit.xml: listed in manifest.json but missing",
        "new.txt: not listed in manifest.json",
        "plan.json: changed since the run (5 bytes, manifest.json says 9)",
    ]


def test_a_run_folder_has_its_first_files_before_anything_runs_and_latest_points_at_the_newest(
    tmp_path: Path,
) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    first = create_run_folder(
        tmp_path / "reports", "My Gate!", now=now, first_files={"verdict.json": "{}"}
    )
    second = create_run_folder(
        tmp_path / "reports", "My Gate!", now=now, first_files={"verdict.json": "{}"}
    )
    assert first.name.startswith("20260102T030405Z-my-gate-")
    assert first != second
    assert (first / "verdict.json").read_text() == "{}"
    assert (tmp_path / "reports" / "latest").resolve() == second.resolve()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
    assert json.dumps([p.name for p in tmp_path.iterdir()]) == '["verdict.json"]'
