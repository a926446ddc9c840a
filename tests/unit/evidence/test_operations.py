"""`operations/` read back as one history, and every row that breaks a law of the format named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stormgate.evidence.operation_files import FinalFile, OperationFile, write_planned
from stormgate.evidence.operations import (
    FINAL,
    KINDS,
    NOTHING,
    OPERATIONS_SCHEMA,
    OUTCOMES,
    PLANNED,
    HistoryReader,
    arrow_schema,
)
from stormgate.evidence.read import Run
from stormgate.system import secrets

WRITE: dict[str, Any] = {
    "version": 1,
    "session": "w/1",
    "invoked_ns": 10,
    "completed_ns": 20,
    "outcome": "ok",
}


def history(run: Path, **reader: Any) -> tuple[Any, HistoryReader]:
    found = HistoryReader(**reader)
    return found.read(Run(run).operations()), found


def test_what_is_written_is_read_back_in_columns(tmp_path: Path) -> None:
    with OperationFile(tmp_path, "w0") as file:
        file.add("write", "a", **WRITE, population="tokyo", region="ap", shard="ap", value=77)
        file.flush()
        file.add("read", "b", **{**WRITE, "version": None, "outcome": "info"}, error="reset")
        file.add("transfer", "x", **WRITE | {"version": None}, value=5, to="a")
    found, reader = history(tmp_path)
    assert reader.problems == []
    assert reader.rows == {"w0": 3}
    assert found.op.tolist() == [1, 2, 3]
    assert [KINDS[k] for k in found.kind] == ["write", "read", "transfer"]
    assert [found.names.shown("key", k) for k in found.key] == ["a", "b", "x"]
    assert [found.names.shown("key", k) for k in found.to] == [None, None, "a"]
    assert found.version.tolist() == [1, NOTHING, NOTHING]
    assert found.value.tolist() == [77, NOTHING, 5]
    assert [OUTCOMES[o] for o in found.outcome] == ["ok", "info", "ok"]
    assert [found.names.shown("region", k) for k in found.region] == ["ap", None, None]
    assert [found.names.shown("error", k) for k in found.error] == [None, "reset", None]
    assert found.invoked_ns.tolist() == [10, 10, 10]


def test_the_final_reads_and_their_plan_stand_apart(tmp_path: Path) -> None:
    write_planned(tmp_path, [("a", "eu", "read"), ("a", "us", "read")])
    with FinalFile(tmp_path) as file:
        row = {**WRITE, "session": None}
        file.add("read", "a", **row, store="eu", phase="final")
    run, reader = Run(tmp_path), HistoryReader()
    assert len(reader.read(run.operations())) == 0
    final = reader.read(run.operations(FINAL), final=True)
    keys, stores, kinds = reader.planned(run.operations(PLANNED))
    assert reader.problems == []
    assert [reader.names.shown("store", code) for code in final.store] == ["eu"]
    assert [reader.names.shown("store", code) for code in stores] == ["eu", "us"]
    assert [reader.names.shown("key", code) for code in keys] == ["a", "a"]
    assert {KINDS[k] for k in kinds.tolist()} == {"read"}


BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("completed_ns is before invoked_ns", "write", {"completed_ns": 9}),
    ("an append without the element", "append", {"version": None}),
    ("a transfer or add without a value", "add", {}),
    ("a transfer without a to", "transfer", {"value": 3}),
    ("read without a value", "count", {}),
    ("without a snapshot", "list", {}),
    ("a snapshot of an operation that has none", "read", {"snapshot": 1}),
    ("an element of a list without an ok", "list", {"snapshot": 1, "outcome": "info"}),
    ("before the run began", "write", {"invoked_ns": 4}),
    ("after the run ended", "write", {"completed_ns": 101}),
]


@pytest.mark.parametrize(("law", "kind", "fields"), BROKEN, ids=[law for law, _, _ in BROKEN])
def test_a_row_that_breaks_a_law_is_named(
    tmp_path: Path, law: str, kind: str, fields: dict[str, Any]
) -> None:
    with OperationFile(tmp_path, "w0") as file:
        file.add("write", "a", **WRITE)
        file.add(kind, "a", **{**WRITE, **fields})
    _, reader = history(tmp_path, begin_ns=5, end_ns=100)
    assert len(reader.problems) == 1
    assert reader.problems[0].startswith("operations of w0: row 1: ")
    assert law in reader.problems[0]


def test_the_final_reads_have_laws_of_their_own(tmp_path: Path) -> None:
    with FinalFile(tmp_path) as file:
        file.add("write", "a", **WRITE, store="eu", phase="final")
    reader = HistoryReader()
    reader.read(Run(tmp_path).operations(FINAL), final=True)
    assert reader.problems == ["operations of final: row 0: a final read that writes"]


def batch(**columns: Any) -> pa.RecordBatch:
    rows: dict[str, Any] = dict.fromkeys(arrow_schema("w0").names)
    rows |= WRITE | {"op": 1, "kind": "write", "key": "a"} | columns
    arrays, names = [], []
    for field in arrow_schema("w0"):
        kind = pa.string() if pa.types.is_dictionary(field.type) else field.type
        value = rows[field.name]
        arrays.append(value if isinstance(value, pa.Array) else pa.array([value], kind))
        names.append(field.name)
    schema = pa.schema(
        [pa.field(n, a.type) for n, a in zip(names, arrays, strict=True)],
        {"schema": OPERATIONS_SCHEMA},
    )
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def test_words_may_be_plain_strings() -> None:
    reader = HistoryReader()
    found = reader.read([("w0", batch()), ("w1", batch(session="w/2"))])
    assert reader.problems == []
    assert len(found) == 2


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"kind": "erase"}, "kind 'erase' is not one of write, read"),
        ({"outcome": "timeout"}, "outcome 'timeout' is not one of ok, fail, info"),
        ({"kind": pa.array([None], pa.string())}, "kind '(unknown)' is not one of"),
        ({"invoked_ns": pa.array([1.5])}, "column 'invoked_ns' is double"),
        ({"version": pa.array(["1"])}, "column 'version' is string, not an integer column"),
        ({"key": pa.array([7])}, "column 'key' is int64"),
    ],
)
def test_a_block_that_does_not_fit_is_named_and_left_out(
    columns: dict[str, Any], told: str
) -> None:
    reader = HistoryReader()
    found = reader.read([("w0", batch(**columns)), ("w1", batch())])
    assert len(found) == 1
    assert len(reader.problems) == 1
    assert told in reader.problems[0]
    assert reader.rows == {"w0": 1, "w1": 1}


def test_an_operation_that_stands_twice_is_named() -> None:
    reader = HistoryReader()
    reader.read([("w0", batch()), ("w1", batch()), ("w1", batch())])
    assert reader.problems == ["operations of w1: op 1 stands there twice"]


def test_a_file_that_was_cut_says_so(tmp_path: Path) -> None:
    file = OperationFile(tmp_path, "w0")
    file.add("write", "a", **WRITE)
    file.flush()
    run = Run(tmp_path)
    assert len(HistoryReader().read(run.operations())) == 1
    assert not run.operation_files["w0"].ended
    file.close()
    again = Run(tmp_path)
    HistoryReader().read(again.operations())
    assert again.operation_files["w0"].ended


@pytest.fixture
def _secret() -> Iterator[None]:
    secrets.know("STORE_PASSWORD", "correct-horse-battery")
    yield
    secrets.forget()


@pytest.mark.usefixtures("_secret")
def test_a_secret_in_an_error_is_not_written(tmp_path: Path) -> None:
    with FinalFile(tmp_path) as file:
        row = {**WRITE, "outcome": "fail", "version": None, "store": "pg", "phase": "final"}
        file.add("read", "a", **row, error="password=correct-horse-battery refused")
    assert b"correct-horse" not in (tmp_path / "operations" / "final.arrow").read_bytes()


RESIDENT: dict[str, Any] = {
    "at_ns": 1,
    "class": "eu",
    "canary": "c",
    "store": "us/logs",
    "phase": "final",
    "scanned": True,
    "found": False,
    "searched": 10,
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"at_ns": "1"}, "at_ns"),
        ({"class": None}, "class"),
        ({"store": " "}, "store"),
        ({"scanned": 1}, "scanned"),
        ({"found": None}, "found"),
        ({"searched": None}, "searched"),
        ({"searched": -1}, "searched"),
        ({"scanned": False}, "no why"),
    ],
)
def test_a_look_that_breaks_its_law_is_named(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    (tmp_path / "operations").mkdir()
    rows = [RESIDENT, {**RESIDENT, **change}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "operations" / "residency.ndjson").write_text(text)
    run = Run(tmp_path)
    assert run.residency == [RESIDENT]
    assert len(run.problems) == 1
    assert told in run.problems[0]
    assert "row 2" in run.problems[0]
