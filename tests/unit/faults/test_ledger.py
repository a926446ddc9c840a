"""The undo ledger: on disk before anything breaks, readable after any cut, and pointed at from
outside the run folder.
"""

import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stormgate.faults import ledger as ledgers
from stormgate.faults.ledger import Entry, Ledger, fold, open_entries
from stormgate.faults.restore import open_ledgers, restore
from stormgate.faults.state import slug, state_dir
from stormgate.model import Component, Target

TARGET = Target(name="t", components=(Component(name="x", kind="cache", backend="process"),))


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))


def entry(name, instance="i"):
    return Entry(
        id=name,
        instance=instance,
        batch=instance,
        fault="f",
        component="x",
        asked="crash",
        part=TARGET.components[0],
        mode="crash",
        record={"pid": 1},
    )


def ledger(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    return Ledger(folder, TARGET)


def test_an_entry_is_open_from_intent_to_undone(tmp_path):
    book = ledger(tmp_path)
    one, two = entry("1"), entry("2")
    book.intend([one, two])
    assert open_entries(book.folder) == [one, two]
    book.applied([one, two])
    book.undone(one, "answers")
    assert open_entries(book.folder) == [two]
    book.void([two], "gone")
    assert open_entries(book.folder) == []
    assert ledgers.ledger_target(book.folder) == TARGET


def test_intents_are_synced_before_intend_returns(tmp_path, monkeypatch):
    """What is fsynced is what was written: the last write to the ledger is followed by an fsync of
    that same file.
    """
    calls = []
    real_write, real_fsync = os.write, os.fsync
    monkeypatch.setattr(
        os, "write", lambda fd, data: (calls.append("write"), real_write(fd, data))[1]
    )
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: (calls.append(os.readlink(f"/proc/self/fd/{fd}")), real_fsync(fd))[1],
    )
    book = ledger(tmp_path)
    book.intend([entry("1")])
    after = calls[len(calls) - 1 - calls[::-1].index("write") :]
    assert after[0] == "write"
    assert str(book.folder / "undo.ndjson") in after
    pointer = next(index for index, call in enumerate(calls) if "/open/" in call)
    assert pointer < calls.index("write"), "the pointer must be durable before the first intent"


def test_a_full_disk_means_nothing_may_be_broken(tmp_path, monkeypatch):
    book = ledger(tmp_path)
    monkeypatch.setattr(os, "write", lambda fd, data: len(data) - 1)
    with pytest.raises(OSError, match="disk full"):
        book.intend([entry("1")])


def test_a_row_after_a_torn_one_is_not_glued_to_it(tmp_path):
    book = ledger(tmp_path)
    book.intend([entry("1"), entry("2")])
    with open(book.folder / "undo.ndjson", "ab") as file:
        file.write(b'{"step":"und')
    book.undone(entry("1"), "seen")
    assert [each.id for each in open_entries(book.folder)] == ["2"]


STEPS = st.lists(
    st.tuples(st.sampled_from(["intent", "applied", "undone", "void"]), st.integers(0, 4)),
    max_size=25,
)


@given(steps=STEPS)
def test_an_entry_is_open_exactly_when_intended_and_not_closed(steps):
    rows = []
    for step, number in steps:
        row = {"step": step, "id": str(number)}
        if step == "intent":
            row["entry"] = ledgers._entry_json(entry(str(number)))
        rows.append(row)
    intended = [str(n) for step, n in steps if step == "intent"]
    closed = {str(n) for step, n in steps if step in {"undone", "void"}}
    assert [each.id for each in fold(rows)] == [
        name for name in dict.fromkeys(intended) if name not in closed
    ]


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(cut=st.integers(0, 10_000))
def test_a_ledger_cut_anywhere_never_forgets_what_it_had_closed_nor_reopens(tmp_path, cut):
    """Of a ledger cut at any byte, what is open is what was open at one moment of its life: no
    more, no less.
    """
    folder = tmp_path / f"cut{next(COUNTER)}"
    folder.mkdir()
    book = Ledger(folder, TARGET)
    moments = [[]]
    book.intend([entry("1", "a")])
    moments.append(["1"])
    book.intend([entry("2", "b")])
    moments.append(["1", "2"])
    book.undone(entry("2"), "seen")
    moments.append(["1"])
    book.undone(entry("1"), "seen")
    moments.append([])
    data = (folder / "undo.ndjson").read_bytes()
    (folder / "undo.ndjson").write_bytes(data[: cut % (len(data) + 1)])
    assert [each.id for each in open_entries(folder)] in moments


COUNTER = itertools.count()


def test_a_ledger_that_makes_no_sense_is_dirty_not_clean(tmp_path):
    book = ledger(tmp_path)
    (book.folder / "undo.ndjson").write_text('{"step":"intent","id":"1","entry":{"what":1}}\n')
    with pytest.raises(ValueError, match="not an undo ledger"):
        open_entries(book.folder)
    report = restore(book.folder)
    assert not report.clean
    assert report.problems


def test_open_ledgers_are_found_by_target_and_forgotten_when_closed(tmp_path):
    book = ledger(tmp_path)
    book.intend([entry("1")])
    assert [(found.target, found.folder) for found in open_ledgers("t")] == [("t", book.folder)]
    assert open_ledgers("another") == []
    assert open_ledgers()[0].open == ("x (crash)",)
    assert open_ledgers()[0].owner == os.getpid()
    book.undone(entry("1"), "seen")
    assert open_ledgers() == []
    assert len(ledgers.pointers()) == 1, "while its owner lives it may break something again"
    orphan(tmp_path)
    assert open_ledgers() == []
    assert ledgers.pointers() == []


def orphan(tmp_path):
    """As if the process that wrote the pointers had died."""
    for path in (tmp_path / "xdg").rglob("open/*/*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "start_ticks": 1}))


def test_a_run_folder_that_was_deleted_with_faults_open_is_lost_not_clean(tmp_path):
    book = ledger(tmp_path)
    book.intend([entry("1")])
    for path in book.folder.iterdir():
        path.unlink()
    book.folder.rmdir()
    found = open_ledgers("t")
    assert len(found) == 1
    assert "gone" in found[0].lost


def test_killed_between_pointer_and_first_intent_is_nothing(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    ledgers.register("t", folder)
    orphan(tmp_path)
    assert open_ledgers("t") == []
    assert ledgers.pointers() == []


@given(names=st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=8))
def test_slugs_are_safe_file_names_and_distinct(names):
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all("/" not in each and each not in {".", ".."} and each.isascii() for each in slugs)


def test_state_folder_falls_back(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    env = {"XDG_STATE_HOME": str(blocked), "HOME": str(tmp_path / "home")}
    assert state_dir(env) == tmp_path / "home" / ".local" / "state" / "stormgate"
    env = {"XDG_STATE_HOME": "relative", "HOME": str(blocked)}
    assert state_dir(env).name == f"stormgate-{os.getuid()}"


def test_rows_are_plain_json_lines(tmp_path):
    book = ledger(tmp_path)
    book.intend([entry("1")])
    rows = [json.loads(line) for line in Path(book.folder / "undo.ndjson").read_text().splitlines()]
    assert [row["step"] for row in rows] == ["target", "intent"]
    assert rows[0]["schema"] == ledgers.SCHEMA


@pytest.mark.parametrize("spoil", ["folder", "pipe", "lost intent"])
def test_a_ledger_that_cannot_be_read_is_not_an_empty_one(tmp_path, spoil):
    path = tmp_path / "undo.ndjson"
    if spoil == "folder":
        path.mkdir()
    elif spoil == "pipe":
        os.mkfifo(path)
    else:
        path.write_text('{"step":"inte\n{"step":"applied","id":"a"}\n')
    with pytest.raises(ValueError, match=r"undo\.ndjson"):
        open_entries(tmp_path)
    assert not restore(tmp_path).clean


def test_a_torn_intent_broke_nothing(tmp_path):
    (tmp_path / "undo.ndjson").write_text('{"step":"inte')
    assert open_entries(tmp_path) == []
