"""The order to halt is held where every injection writes its intent."""

import threading

import pytest

from stormgate.faults.errors import Halted
from stormgate.faults.hands import halt as halts
from stormgate.faults.hands.halt import halt, not_halted, resume, standing
from stormgate.faults.ledger import Entry, Ledger, open_entries
from stormgate.faults.state import state_path
from stormgate.judge.journal import problems
from stormgate.model import Component, Target, Verdict


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))


def entry(name):
    part = Component(name="a", kind="service", backend="command")
    return Entry(
        id=name,
        instance=name,
        batch=name,
        fault="f",
        component="a",
        asked="dim",
        part=part,
        mode="dim",
        record={},
    )


def test_no_intent_is_written_while_it_stands(tmp_path):
    book = Ledger(tmp_path, Target(name="t"))
    halt("Ben", "enough")
    with pytest.raises(Halted, match=r"halted by Ben .*enough.*stormgate resume"):
        book.intend([entry("1")])
    assert not (tmp_path / "undo.ndjson").exists()
    assert resume("Ana", "all clear").by == "Ben"
    book.intend([entry("1")])
    assert [one.id for one in open_entries(tmp_path)] == ["1"]


def test_taking_back_is_never_refused(tmp_path):
    book = Ledger(tmp_path, Target(name="t"))
    book.intend([entry("1")])
    halt("Ben")
    book.undone(entry("1"), "whole")
    book.close_if_empty()
    assert open_entries(tmp_path) == []


def test_the_first_order_stands_and_who_gave_and_took_it_is_kept():
    first = halt("Ben", "one")
    assert halt("Chi", "two") == first == standing()
    resume("Ana", "clear")
    assert (standing(), resume("Ana", "again")) == (None, None)
    log = (state_path() / halts.LOG).read_text()
    assert log.count("\n") == 2
    assert '"Ben"' in log
    assert '"clear"' in log


@pytest.mark.parametrize("text", ["", "{", "[]", '{"by": "x"}'])
def test_an_order_that_cannot_be_read_stands(text):
    halt("Ben")
    (state_path() / halts.FILE).write_text(text)
    assert "cannot be read" in str(standing())
    with pytest.raises(Halted), not_halted():
        pass


def test_an_intent_is_in_the_ledger_before_the_order_or_refused(tmp_path):
    """Whoever halts finds all that was begun: after `halt` returned the ledger grows no more."""
    folders = [tmp_path / f"run-{number}" for number in range(4)]
    refused, go = [], threading.Barrier(5)

    def write(worker):
        folders[worker].mkdir()
        book = Ledger(folders[worker], Target(name=f"t{worker}"))
        go.wait()
        for number in range(200):
            try:
                book.intend([entry(f"{worker}-{number}")])
            except Halted:
                refused.append((worker, number))
                return

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    go.wait()
    halt("Ben")
    seen = [len(open_entries(folder)) for folder in folders]
    for each in threads:
        each.join()
    assert [len(open_entries(folder)) for folder in folders] == seen
    assert len(refused) == 4


def test_a_trial_that_was_refused_shows_nothing():
    activity = {"type": "action", "name": "kill a"}
    journal = {
        "experiment": {"method": [activity]},
        "status": "completed",
        "run": [
            {
                "activity": activity,
                "status": "failed",
                "exception": ["stormgate.faults.errors.Halted: halted by Ben"],
            }
        ],
    }
    assert [found.severity for found in problems(journal)] == [Verdict.INCONCLUSIVE]
