"""ackedWrites on histories by hand: every way to lose a write, and every reason not to believe that
none was lost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.judge.book import Book

from stormgate.model import Finding, Store, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def judged(book: Book, **spec: Any) -> Finding:
    return book.judge("ackedWrites", **{"min_writes_near_fault": 1, **spec})


def healthy() -> Book:
    """Three versions of one key, the last before the fault is over, read back in both regions."""
    book = Book()
    for version, at in ((1, 5.0), (2, 33.0), (3, 40.0)):
        book.write("a", version, at, region="eu")
    for store in ("eu", "us"):
        book.back("a", 3, store)
    return book


def test_what_was_acknowledged_and_is_there_passes() -> None:
    finding = judged(healthy())
    assert (finding.verdict, finding.value, finding.samples) == (PASS, 0.0, 3)
    assert finding.detail["lost"] == 0
    assert finding.detail["keys"] == finding.detail["keys_read"] == 1
    assert finding.detail["share_at_most"] == pytest.approx(1 - 0.05 ** (1 / 3))
    assert "at most 0.63 lost" in finding.why


@pytest.mark.parametrize(("held", "lost"), [(2, 1), (1, 2), (None, 3)])
def test_what_one_store_has_not_is_lost(held: int | None, lost: int) -> None:
    book = healthy()
    book.final = []
    book.back("a", 3, "eu")
    book.back("a", held, "us")
    finding = judged(book)
    assert (finding.verdict, finding.value) == (FAIL, lost)
    assert [cell.name for cell in finding.cells] == [
        f"a version {4 - n}" for n in range(lost, 0, -1)
    ]
    cell = finding.cells[-1]
    assert cell.detail["missing"] == ["us"]
    assert cell.detail["acknowledged_by"] == "eu"
    assert cell.detail["session"] == "w0/0"
    assert cell.detail["acknowledged_s"] == pytest.approx(40.01)
    assert cell.why == "written by w0/0, acknowledged by eu at 40.010 s, missing in us"


def test_the_observed_rpo_counts_back_from_the_injection() -> None:
    book = healthy()
    book.write("b", 1, 30.99)
    book.back("b", None, "eu")
    low, high = judged(book).detail["rpo_s"]
    assert low == pytest.approx(1.0)  # acknowledged at 31, requested at 32
    assert low <= high < 1.1
    assert f"observed RPO {low:g} to {high:g} s" in judged(book).why
    late = healthy()
    late.write("b", 1, 40.0)
    late.back("b", None, "eu")
    assert "none of them had been acknowledged before a fault" in judged(late).why


def test_a_write_that_nobody_knows_the_end_of_may_be_there_or_not() -> None:
    for held, recovered in ((3, 0), (4, 1)):
        book = healthy()
        book.final = []
        book.write("a", 4, 45.0, outcome="info")
        book.back("a", held, "eu")
        finding = judged(book)
        assert finding.verdict is PASS
        assert finding.detail["recovered"] == recovered


@pytest.mark.parametrize("value", [None, 70])
def test_a_version_that_the_server_gave_and_nobody_heard_is_not_unexpected(
    value: int | None,
) -> None:
    book = healthy()
    book.final = []
    book.write("a", None, 45.0, outcome="info", value=value)
    book.back("a", 4, "eu", value=70)
    assert judged(book).verdict is PASS


def test_a_version_that_nobody_wrote_is_unexpected() -> None:
    book = healthy()
    book.back("a", 9, "asia")
    finding = judged(book)
    assert finding.verdict is FAIL
    assert finding.detail["unexpected"] == 1
    assert finding.cells[0].name == "a version 9 in asia"


def test_content_that_nobody_wrote_is_unexpected_and_what_it_stands_for_lost() -> None:
    book = Book()
    book.write("a", 1, 33.0, value=11)
    book.back("a", 1, "eu", value=12)
    finding = judged(book)
    assert finding.verdict is FAIL
    assert (finding.detail["lost"], finding.detail["unexpected"]) == (1, 1)


def test_what_stood_there_before_the_run_is_nobodys_doing() -> None:
    book = healthy()
    book.write("b", 7, 40.0, outcome="fail")
    book.back("b", 6, "eu")
    assert judged(book).verdict is PASS


def test_of_two_writes_of_one_version_one_is_lost() -> None:
    """Read-modify-write without a check: both were told that theirs is version 4."""
    book = healthy()
    book.final = []
    book.write("a", 4, 45.0, value=1, session="w0/1")
    book.write("a", 4, 45.001, value=2, session="w0/2")
    book.back("a", 4, "eu")
    finding = judged(book)
    assert (finding.verdict, finding.value) == (FAIL, 1)
    assert "overwritten by another of its version, written by w0/2" in finding.cells[0].why
    book.final[-1]["value"] = 2
    assert judged(book).value == 1  # the same one, whichever way it is seen


def test_the_same_write_said_twice_is_one() -> None:
    book = healthy()
    book.write("a", 3, 41.0, value=5)
    book.users[2]["value"] = 5
    assert judged(book).verdict is PASS


def test_a_version_acknowledged_twice_without_a_value_is_a_doubt() -> None:
    book = healthy()
    book.write("a", 3, 41.0)
    finding = judged(book)
    assert finding.verdict is INCONCLUSIVE
    assert "version 3 of a was acknowledged twice" in finding.why


def test_a_lost_element_of_a_list_is_lost_whatever_came_after() -> None:
    book = Book()
    for element in (1, 2, 3):
        book.op("append", "l", 33.0 + element, version=element)
    book.back_list("l", [1, 3], "eu")
    finding = judged(book)
    assert (finding.verdict, finding.value) == (FAIL, 1)
    assert finding.cells[0].name == "l version 2"


def test_an_element_that_stands_twice_is_a_duplicate() -> None:
    """Jepsen's set-full looks for multiplicities below 1, which there are none."""
    book = Book()
    for element in (1, 2):
        book.op("append", "l", 33.0 + element, version=element)
    book.back_list("l", [1, 2, 2], "eu")
    finding = judged(book)
    assert finding.verdict is FAIL
    assert finding.detail["duplicates"] == 1
    assert finding.detail["lost"] == 0
    assert judged(book, duplicates=1).verdict is PASS


def test_elements_that_nobody_appended_and_those_that_came_back() -> None:
    book = Book()
    book.op("append", "l", 33.0, version=1)
    book.op("append", "l", 34.0, version=2, outcome="info")
    book.back_list("l", [1, 2], "eu")
    assert judged(book).detail["recovered"] == 1
    book.back_list("l", [1, 8], "us")
    finding = judged(book)
    assert finding.detail["unexpected"] == 1
    assert finding.verdict is FAIL


def test_only_the_last_reading_of_a_list_counts() -> None:
    book = Book()
    book.op("append", "l", 33.0, version=1)
    book.back_list("l", [], "eu", at=75.0)
    book.back_list("l", [1], "eu", at=80.0)
    assert judged(book).verdict is PASS


def test_so_many_may_be_lost_if_a_gate_says_so() -> None:
    book = healthy()
    book.final = []
    book.back("a", 2, "eu")
    assert judged(book, lost=1).verdict is PASS
    assert judged(book, lost=0).verdict is FAIL


def doubt(book: Book, **spec: Any) -> str:
    finding = judged(book, **spec)
    assert finding.verdict is INCONCLUSIVE, finding.why
    return finding.why


def test_nothing_written_nothing_read_back_nothing_planned() -> None:
    assert "nobody wrote a key like '*'" in doubt(Book())
    assert "nobody wrote a key like 'b*'" in doubt(healthy(), keys="b*")
    book = healthy()
    book.final = []
    assert "nothing was read back" in doubt(book)
    book = healthy()
    book.planned = []
    assert "nobody says what was to be read back" in doubt(book)


def test_what_was_planned_and_not_read() -> None:
    book = healthy()
    book.back("a", None, "asia", outcome="fail", error="connection refused")
    why = doubt(book)
    assert why == "1 of 3 final reads are missing, such as a in asia: connection refused"
    book = healthy()
    book.planned = [{"key": "a", "store": s, "kind": "read"} for s in ("eu", "us", "asia")]
    assert "a in asia: nobody tried" in doubt(book)


def test_a_read_before_the_last_write_had_ended_is_not_final() -> None:
    book = healthy()
    book.final = []
    book.back("a", 3, "eu", at=40.005)
    assert "read before the last write had ended" in doubt(book)
    book = healthy()
    book.final[1]["phase"] = "recovery[loss]"
    assert "final reads are missing" in doubt(book)


def test_a_store_that_the_gate_wants_and_nobody_planned() -> None:
    assert "store asia was not to be read back" in doubt(healthy(), stores=["eu", "asia"])


def test_a_sample_of_the_keys_is_enough_where_the_gate_says_how_few_may_be_missed() -> None:
    book = healthy()
    for number in range(100):
        book.write(f"b{number}", 1, 40.0)
        if number < 80:
            book.back(f"b{number}", 1, "eu")
    assert "81 of 101 keys were read back" in doubt(book)
    assert "sampledLte is 0.01" in doubt(book, sampled_lte=0.01)
    finding = judged(book, sampled_lte=0.04)
    assert finding.verdict is PASS
    assert finding.detail["keys_lost_at_most"] == pytest.approx(1 - 0.05 ** (1 / 81))


def listed(book: Book, *stores: Store) -> Book:
    book.plan = replace(book.plan, target=replace(book.plan.target, stores=stores))
    return book


def test_a_store_that_the_target_lists_is_read_for_all_that_it_should_hold() -> None:
    asia = Store(name="asia", reader="postgres", query="select", holds=("a",))
    assert "store asia should hold a and was not to be read back" in doubt(listed(healthy(), asia))
    other = replace(asia, holds=("b",))
    looked_through = replace(asia, query="")
    assert judged(listed(healthy(), other, looked_through)).verdict is PASS


def test_a_sample_of_a_store_is_told_with_its_bound() -> None:
    book = listed(healthy(), Store(name="eu", reader="http", url="u"))
    for number in range(100):
        book.write(f"b{number}", 1, 40.0)
        book.back(f"b{number}", 1, "us" if number < 80 else "eu")
    finding = judged(book)
    assert finding.verdict is PASS
    assert finding.detail["sampled"]["eu"] == {
        "keys": 21,
        "of": 101,
        "keys_lost_at_most": pytest.approx(1 - 0.05 ** (1 / 21)),
    }
    assert "of eu a sample was read (21 of 101 keys)" in finding.why
    assert "21 of 101 keys were read back in eu" in doubt(book, sampled_lte=0.1)
    assert judged(book, sampled_lte=0.2).verdict is PASS


def test_too_few_writes_near_the_fault() -> None:
    book = healthy()
    assert judged(book, min_writes_near_fault=2).verdict is PASS
    why = doubt(book, min_writes_near_fault=3)
    assert why.startswith("loss: 2 acknowledged writes from a second before the fault")
    quiet = Book(faults=0)
    quiet.write("a", 1, 5.0)
    quiet.back("a", 1, "eu", at=45.0)
    assert judged(quiet).verdict is PASS
    assert "1 acknowledged writes, 2 wanted" in doubt(quiet, min_writes_near_fault=2)


def test_versions_that_do_not_rise_or_are_none() -> None:
    book = healthy()
    book.write("a", 2, 47.0, value=9)
    book.users[1]["value"] = 9  # the same write, so no fork
    assert "versions of a do not rise: version 2" in doubt(book)
    book = healthy()
    book.write("a", None, 47.0)
    assert "1 acknowledged write without a version, such as of a" in doubt(book)


def test_a_harness_that_lost_operations_proves_nothing_and_hides_no_loss() -> None:
    book = healthy()
    book.counted = 4
    assert "3 rows, but the worker says it wrote 4" in doubt(book)
    book = healthy()
    book.generator = {"final": False}
    assert "the worker did not end on purpose" in doubt(book)
    book = healthy()
    book.users[1]["completed_ns"] = 5
    assert "completed_ns is before invoked_ns" in doubt(book)
    book = healthy()
    book.counted = 4
    book.back("a", 1, "asia")
    assert judged(book).verdict is FAIL  # what is lost stays lost


@pytest.mark.parametrize("over", ["flow_errors", "flow_errors_over_failures", "engine_errors"])
def test_after_a_flow_that_raised_nothing_is_called_unexpected(over: str) -> None:
    book = healthy()
    book.back("a", 9, "asia")
    book.generator = {over: 1}
    assert "1 value that nobody noted having written" in doubt(book)
