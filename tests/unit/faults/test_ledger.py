"""The undo ledger: on disk before anything breaks, readable after any cut, and pointed at from
outside the run folder.
"""

import contextlib
import itertools
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stormgate.commands.restore import restore_command
from stormgate.faults import ledger as ledgers
from stormgate.faults import pointers as pointing
from stormgate.faults.ledger import Entry, Ledger, fold, open_entries
from stormgate.faults.pointers import pointers
from stormgate.faults.restore import open_ledgers, restore
from stormgate.faults.state import require_writable, slug, state_dir
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
    # While this machine knows what was meant, a cut that lost an intent is told from a whole one.
    with contextlib.suppress(ValueError):
        assert [each.id for each in open_entries(folder)] in moments[2:]
    pointing.unregister("t", folder)
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
    assert f"process {os.getpid()} on" in open_ledgers()[0].owner
    book.undone(entry("1"), "seen")
    assert open_ledgers() == []
    assert len(pointers()) == 1, "while its owner lives it may break something again"
    orphan(tmp_path)
    assert open_ledgers() == []
    assert pointers() == []


def orphan(tmp_path):
    """As if the process that wrote the pointers had died."""
    for path in (tmp_path / "xdg").rglob("open/*/*.json"):
        data = json.loads(path.read_text())
        path.write_text(json.dumps({**data, "owner": {**data["owner"], "start_ticks": 1}}))


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
    pointing.register("t", folder)
    orphan(tmp_path)
    assert open_ledgers("t") == []
    assert pointers() == []


@given(names=st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=8))
def test_slugs_are_safe_file_names_and_distinct(names):
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all("/" not in each and each not in {".", ".."} and each.isascii() for each in slugs)


def test_the_state_folder_is_told_by_the_environment_alone_and_never_falls_back(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    home = tmp_path / "home"
    with pytest.raises(OSError, match="file"):
        state_dir({"XDG_STATE_HOME": str(blocked), "HOME": str(home)})
    with pytest.raises(OSError, match="file"):
        state_dir({"XDG_STATE_HOME": "relative", "HOME": str(blocked)})
    assert state_dir({"XDG_STATE_HOME": "relative", "HOME": str(home)}) == (
        home / ".local" / "state" / "stormgate"
    )


def test_state_that_cannot_be_written_is_found_by_writing(monkeypatch):
    require_writable()
    assert list(state_dir().iterdir()) == []

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        require_writable()


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


# -- "I found nothing" is not "there is nothing"


def restoring(*arguments):
    done = CliRunner().invoke(restore_command, list(arguments), standalone_mode=False)
    assert done.exception is None, done.exception
    return done.return_value, done.output


@pytest.mark.parametrize("spoil", ["ledger", "row", "all but the target"])
def test_a_ledger_that_lost_an_intent_is_dirty_and_its_pointer_is_kept(tmp_path, spoil):
    book = ledger(tmp_path)
    book.intend([entry("1")])
    book.intend([entry("2")])
    book.undone(entry("1"), "seen")
    path = book.folder / "undo.ndjson"
    lines = path.read_text().splitlines(keepends=True)
    if spoil == "ledger":
        path.unlink()
    else:
        path.write_text("".join(lines[:1] if spoil == "all but the target" else lines[:2]))
    orphan(tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match="lost"):
            open_entries(book.folder)
        assert "lost" in open_ledgers("t")[0].lost
        code, said = restoring()
        assert (code, "lost" in said) == (6, True)
        code, said = restoring(str(book.folder))
        assert (code, "lost" in said) == (6, True)
    assert restoring("--forget")[0] == 0
    assert restoring()[0] == 0


def test_a_ledger_deleted_while_the_run_goes_on_is_no_success(tmp_path):
    book = ledger(tmp_path)
    book.intend([entry("1")])
    (book.folder / "undo.ndjson").unlink()
    with pytest.raises(ValueError, match="lost"):
        book.close_if_empty()
    assert len(pointers()) == 1


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"target": "t", "folder": "/", "owner": {}}'])
def test_a_pointer_that_cannot_be_read_is_named_and_dirty(tmp_path, text):
    book = ledger(tmp_path)
    book.intend([entry("1")])
    [pointer] = pointers()
    pointer.path.write_text(text)
    assert [each.lost for each in open_ledgers("t")] != []
    assert open_ledgers("another") == []
    code, said = restoring()
    assert code == 6
    assert str(pointer.path) in said
    with pytest.raises(OSError, match="must not be written over"):
        book.intend([entry("2")])


def test_a_timeline_with_faults_and_no_ledger_is_dirty(tmp_path):
    row = {"at_ns": 1, "event": "fault.requested", "component": "a/edge", "mode": "crash"}
    (tmp_path / "timeline.ndjson").write_text(json.dumps({**row, "id": "x"}) + "\n")
    code, said = restoring(str(tmp_path))
    assert (code, "a/edge (crash)" in said) == (6, True)


def test_nothing_recorded_is_not_known_to_be_nothing(tmp_path, monkeypatch):
    code, said = restoring()
    assert code == 6
    assert str(tmp_path / "xdg" / "stormgate") in said
    book = ledger(tmp_path)
    book.intend([entry("1")])
    other = tmp_path / "other"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(other))
    code, said = restoring()
    assert (code, str(other) in said) == (6, True)


def test_a_run_recorded_under_the_usual_folder_is_mentioned_from_another(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME")
    ledger(tmp_path).intend([entry("1")])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    code, said = restoring()
    usual = tmp_path / "home/.local/state"
    assert code == 6
    assert f"1 runs are recorded in {usual}/stormgate" in said
    assert f"XDG_STATE_HOME={usual} stormgate restore" in said


def test_a_renamed_run_folder_is_restored_where_it_is_and_its_pointer_goes(tmp_path):
    book = ledger(tmp_path)
    book.intend([entry("1")])
    book.undone(entry("1"), "seen")
    orphan(tmp_path)
    book.folder.rename(tmp_path / "elsewhere")
    assert "gone" in open_ledgers("t")[0].lost
    assert restoring(str(tmp_path / "elsewhere"))[0] == 0
    assert pointers() == []
