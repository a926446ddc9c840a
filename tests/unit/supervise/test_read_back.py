"""What is planned to be read back of which store, and how answers become rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stormgate.evidence import open_run
from stormgate.evidence.operation_files import FinalFile, OperationFile
from stormgate.evidence.operations import FINAL, KINDS, NOTHING, OUTCOMES, HistoryReader
from stormgate.model import Store
from stormgate.net.allow import AllowList
from stormgate.supervise.final_rows import FinalRows
from stormgate.supervise.read_back import keys_written, planned_reads
from stormgate.supervise.stores import KeyRead, StoreReader, UnreadableError, reader_of

KEYS = {f"list/{n:03}": "list" for n in range(100)} | {"bank/a": "balance", "hits": "count"}


def reader(name: str, kind: str = "postgres", **fields: Any) -> StoreReader:
    return reader_of(Store(name=name, reader=kind, **fields), AllowList(["127.0.0.0/8"]), {})


def test_stores_are_asked_for_all_and_doors_for_a_seeded_sample_without_accounts() -> None:
    readers = [
        reader("db"),
        reader("lists", holds=("list/0",)),
        reader("door", "http", url="http://127.0.0.1/{key}", values=("/v",)),
    ]
    planned = planned_reads(KEYS, readers, 20, seed=5)
    assert planned["db"] == sorted(KEYS)
    assert planned["lists"] == [key for key in KEYS if key.startswith("list/0")]
    assert len(planned["door"]) == 20
    assert planned == planned_reads(KEYS, readers, 20, seed=5)
    assert planned["door"] != planned_reads(KEYS, readers, 20, seed=6)["door"]
    everything = planned_reads(KEYS, readers, 1000, seed=5)["door"]
    assert everything == sorted(key for key in KEYS if KEYS[key] != "balance")


def test_keys_are_those_that_somebody_tried_to_write_whatever_came_of_it(tmp_path: Path) -> None:
    common = {"session": "w/0", "invoked_ns": 1, "completed_ns": 2}
    with OperationFile(tmp_path, "w0") as file:
        file.add("append", "l", version=1, outcome="info", **common)
        file.add("write", "r", version=1, outcome="fail", **common)
        file.add("transfer", "b/1", to="b/2", value=3, outcome="ok", **common)
        file.add("add", "c", value=1, outcome="ok", **common)
        file.add("read", "only-read", version=1, outcome="ok", **common)
    assert keys_written(tmp_path) == {
        "b/1": "balance",
        "b/2": "balance",
        "c": "count",
        "l": "list",
        "r": "read",
    }


def test_answers_become_rows_that_break_no_law(tmp_path: Path) -> None:
    read_as = {"l": "list", "r": "read", "c": "count", "x": "balance", "y": "balance"}
    with FinalFile(tmp_path) as file:
        rows = FinalRows(file, read_as, "final")
        for key, values, error in [
            ("l", (1, 2), None),
            ("r", (4, 9), None),
            ("c", (), None),  # no value is no zero
            ("x", (60,), None),
            ("y", (40,), None),
            ("l", (), "gone"),
            ("x", (), "gone"),
        ]:
            outcome = "fail" if error else "ok"
            one = KeyRead(key, values, 5, 9, answer=5, error=error, outcome=outcome)
            rows.add(reader("db", region="eu"), one)
    found = HistoryReader()
    history = found.read(open_run(tmp_path).operations(FINAL), final=True)
    assert found.problems == []
    told = [
        (
            KINDS[history.kind[row]],
            OUTCOMES[history.outcome[row]],
            *(
                None if value[row] == NOTHING else int(value[row])
                for value in (history.version, history.value, history.snapshot)
            ),
        )
        for row in range(len(history))
    ]
    assert told == [
        ("list", "ok", 1, None, 1),
        ("list", "ok", 2, None, 1),
        ("read", "ok", 9, None, None),
        ("count", "fail", None, None, None),
        ("balance", "ok", None, 60, 5),
        ("balance", "ok", None, 40, 5),
        ("list", "fail", None, None, 7),
        ("balance", "fail", None, None, 8),
    ]


def test_a_reference_that_is_not_set_is_told_by_name() -> None:
    with pytest.raises(UnreadableError, match=r"\$\{PW\}, which is not set"):
        reader("db", password="${PW}").filled("${PW}")
