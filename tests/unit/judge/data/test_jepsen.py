"""Histories in Jepsen's shape: what elle and Knossos read, in EDN and JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from tests.unit.judge.book import Book

from stormgate.cli import main
from stormgate.evidence.operation_files import FinalFile, OperationFile
from stormgate.evidence.operations import HistoryReader
from stormgate.judge.histories.jepsen import edn, jepsen_history, written


def exported(book: Book, model: str, key: str | None = None) -> list[dict[str, Any]]:
    run = book.run()
    return list(jepsen_history(HistoryReader().read(run.operations()), model, key))


def shown(operations: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(o["process"], o["type"], o["f"], o["value"]) for o in operations]


def test_registers_are_transactions_of_one_read_or_write() -> None:
    book = Book()
    book.write("a", 1, 33.0)
    book.read("a", 1, 34.0)
    book.read("b", None, 35.0, outcome="fail")
    operations = exported(book, "rw-register")
    assert shown(operations) == [
        (0, "invoke", "txn", [["w", "a", 1]]),
        (0, "ok", "txn", [["w", "a", 1]]),
        (0, "invoke", "txn", [["r", "a", None]]),
        (0, "ok", "txn", [["r", "a", 1]]),
        (0, "invoke", "txn", [["r", "b", None]]),
        (0, "fail", "txn", [["r", "b", None]]),
    ]
    assert [o["index"] for o in operations] == list(range(6))
    assert operations[1]["time"] - operations[0]["time"] == 10_000_000


def test_one_register_is_knossos_own() -> None:
    book = Book()
    book.write("a", 1, 33.0)
    book.write("b", 9, 33.5)
    book.read("a", 1, 34.0)
    assert shown(exported(book, "register", "a")) == [
        (0, "invoke", "write", 1),
        (0, "ok", "write", 1),
        (0, "invoke", "read", None),
        (0, "ok", "read", 1),
    ]
    assert exported(book, "register", "nobody") == []


def test_lists_accounts_and_counters() -> None:
    book = Book()
    book.op("append", "l", 33.0, version=1)
    book.list("l", [1], 34.0)
    book.list("l", [], 35.0)
    operations = exported(book, "list-append")
    assert [o["value"] for o in operations if o["type"] == "ok"] == [
        [["append", "l", 1]],
        [["r", "l", [1]]],
        [["r", "l", []]],
    ]
    book.op("transfer", "x", 36.0, value=5, to="y")
    first = len(book.users) + 1
    book.op("balance", "x", 37.0, value=5, snapshot=first)
    book.op("balance", "y", 37.0, value=15, snapshot=first)
    operations = exported(book, "bank")
    assert shown(operations)[1::2] == [
        (0, "ok", "transfer", {"from": "x", "to": "y", "amount": 5}),
        (0, "ok", "read", {"x": 5, "y": 15}),
    ]
    assert edn(operations[1]["value"]) == '{:from "x", :to "y", :amount 5}'
    book.op("add", "c", 38.0, value=2)
    book.op("count", "c", 39.0, value=2)
    assert shown(exported(book, "counter"))[1::2] == [(0, "ok", "add", 2), (0, "ok", "read", 2)]


def test_a_process_does_one_thing_at_a_time_and_nothing_after_an_info() -> None:
    book = Book()
    book.write("a", 1, 33.0, done=35.0)
    book.read("a", 1, 34.0)  # while the write is under way
    book.write("a", 2, 36.0, outcome="info")
    book.write("a", 3, 37.0)
    book.write("a", 4, 38.0, session="w0/1")
    operations = exported(book, "rw-register")
    busy: dict[int, bool] = defaultdict(bool)
    gone = set()
    for operation in operations:
        process = operation["process"]
        assert process not in gone
        assert busy[process] == (operation["type"] != "invoke")
        busy[process] = operation["type"] == "invoke"
        if operation["type"] == "info":
            gone.add(process)
    assert len(gone) == 1
    assert len(busy) == 3


def test_a_write_of_which_nobody_knows_the_version_has_a_word_of_its_own() -> None:
    book = Book()
    book.write("a", None, 33.0, outcome="info")
    book.write("a", None, 34.0, outcome="info")
    values = [o["value"][0][2] for o in exported(book, "rw-register")]
    assert len(set(values)) == 2
    assert all(isinstance(value, str) for value in values)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, "nil"),
        (True, "true"),
        (-3, "-3"),
        ('say "hé"\n\\', '"say \\"hé\\"\\n\\\\"'),
        ([1, None, "a"], '[1 nil "a"]'),
        ({"a b": [2]}, '{"a b" [2]}'),
    ],
)
def test_edn(value: Any, wanted: str) -> None:
    assert edn(value) == wanted


def test_a_file_holds_an_operation_a_line_in_either_form() -> None:
    book = Book()
    book.write("a", 1, 33.0)
    operations = exported(book, "rw-register")
    lines = list(written(iter(operations), "edn"))
    assert (lines[0], lines[-1]) == ("[", "]")
    assert lines[1] == (
        f"{{:index 0, :type :invoke, :process 0, :time {operations[0]['time']}, :f :txn, "
        ':value [[:w "a" 1]]}'
    )
    found = json.loads("\n".join(written(iter(operations), "json")))
    assert [o["type"] for o in found] == ["invoke", "ok"]
    assert found[0]["value"] == [["w", "a", 1]]
    assert list(written(iter([]), "json")) == ["[", "]"]


def folder(tmp_path: Path) -> Path:
    book = Book()
    book.write("a", 1, 33.0)
    book.back("a", 1, "eu")
    with OperationFile(tmp_path, "w0") as file:
        for row in book.users:
            file.add(**{k: v for k, v in row.items() if k != "op"})
    with FinalFile(tmp_path) as final:
        for row in book.final:
            final.add(**{k: v for k, v in row.items() if k != "op"})
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str]:
    """(exit code, what was printed) of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["evidence", "export", *words])
    printed = capsys.readouterr()
    return ended.value.code, printed.out + printed.err


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(folder(tmp_path))
    code, printed = told(capsys, run, "--history")
    assert code == 0
    assert printed.count(":type :ok") == 1
    out = tmp_path / "history.json"
    words = (run, "--history", "--final", "--form", "json", "--out", str(out))
    assert told(capsys, *words)[0] == 0
    assert len(json.loads(out.read_text())) == 4
    assert told(capsys, *words)[0] != 0  # never over one that is there


@pytest.mark.parametrize(
    ("options", "code", "wanted"),
    [
        ([], 2, "say what to export: --history"),
        (["--history", "--model", "register"], 2, "name it with --key"),
        (["--history", "--model", "bank"], 1, "no operation of bank is in it"),
        (["--history", "--key", "z"], 1, "no operation of rw-register of key 'z' is in it"),
    ],
)
def test_what_cannot_be_exported_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    wanted: str,
) -> None:
    found, printed = told(capsys, str(folder(tmp_path)), *options)
    assert found == code
    assert wanted in printed
