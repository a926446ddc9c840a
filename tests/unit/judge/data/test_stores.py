"""splitBrain, convergence and residency on histories by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.judge.book import Book

from stormgate.model import Finding, Store, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def split(book: Book, **spec: Any) -> Finding:
    return book.judge("splitBrain", **{"min_writes_near_fault": 1, **spec})


def two_sides(first: dict[str, Any], second: dict[str, Any]) -> Book:
    book = Book()
    book.write("a", 1, 33.0, region="eu", session="w0/1")
    book.write("a", 2, 35.0, **{"region": "eu", "session": "w0/1", **first})
    book.write("a", 2, 36.0, **{"region": "us", "session": "w0/2", **second})
    return book


def test_two_sides_that_acknowledge_one_version_are_a_fork() -> None:
    finding = split(two_sides({"value": 1}, {"value": 2}))
    assert (finding.verdict, finding.value) == (FAIL, 1.0)
    assert finding.cells[0].name == "a version 2"
    assert finding.cells[0].why == (
        "w0/1, answered by eu at 35.010 s, and w0/2, answered by us at 36.010 s"
    )
    assert split(two_sides({}, {})).verdict is FAIL  # two sessions are two writes


def test_the_same_write_said_again_elsewhere_is_no_fork() -> None:
    assert split(two_sides({"value": 7}, {"value": 7})).verdict is PASS
    assert split(two_sides({}, {"outcome": "info"})).verdict is PASS


def test_a_fork_on_one_side_is_a_lost_update_and_no_split() -> None:
    finding = split(two_sides({"value": 1}, {"value": 2, "region": "eu"}))
    assert (finding.verdict, finding.detail["one_sided"]) == (PASS, 1)


def test_of_whom_nobody_knows_the_side_nothing_is_known() -> None:
    finding = split(two_sides({"value": 1}, {"value": 2, "region": None}))
    assert finding.verdict is INCONCLUSIVE
    assert finding.why == "1 acknowledged write of no known region"
    assert split(two_sides({}, {}), by="shard").verdict is INCONCLUSIVE


def test_two_stores_with_different_content_under_one_version_are_a_fork() -> None:
    book = Book()
    book.write("a", 1, 33.0, region="eu")
    book.back("a", 1, "eu", value=5)
    book.back("a", 1, "us", value=6)
    finding = split(book)
    assert finding.verdict is FAIL
    assert finding.cells[0].why == "eu holds 5, us 6"


def test_a_split_needs_writes_around_the_fault_to_be_seen() -> None:
    assert split(two_sides({"value": 7}, {"value": 7}), min_writes_near_fault=4).verdict is (
        INCONCLUSIVE
    )
    assert "nobody wrote" in split(Book()).why


def converge(book: Book, within_s: float = 10.0, **spec: Any) -> Finding:
    return book.judge("convergence", within_s=within_s, **spec)


def healed() -> Book:
    """Versions 1 and 2 are acknowledged before the fault is healed at 49 s."""
    book = Book()
    book.write("a", 1, 12.0)
    book.write("a", 2, 40.0)
    return book


def test_stores_that_had_caught_up_in_time_pass_with_the_bound_that_was_seen() -> None:
    book = healed()
    for store in ("eu", "us"):
        book.back("a", 2, store, at=55.0, phase="recovery[loss]")
        book.back("a", 2, store)
    finding = converge(book)
    assert finding.verdict is PASS
    assert finding.value == 0.0
    assert finding.bound == pytest.approx(6.01)


def test_a_store_that_was_behind_for_longer_fails() -> None:
    book = healed()
    book.back("a", 1, "us", at=60.0, phase="recovery[loss]")
    for store in ("eu", "us"):
        book.back("a", 2, store)
    finding = converge(book)
    assert finding.verdict is FAIL
    assert finding.value == pytest.approx(11.0)
    assert "a was still behind in us 11.000 s after it was healed" in finding.why


def test_what_nobody_read_early_enough_is_not_known() -> None:
    book = healed()
    book.back("a", 2, "eu")
    finding = converge(book)
    assert finding.verdict is INCONCLUSIVE
    assert "nobody read it earlier" in finding.why
    assert converge(book, 40.0).verdict is PASS


def test_users_of_a_region_show_when_its_edge_had_caught_up() -> None:
    book = healed()
    book.read("a", 2, 52.0, region="eu")
    book.back("a", 2, "eu")
    assert converge(book).bound == pytest.approx(3.01)
    book.read("a", 1, 65.0, region="asia")
    assert converge(book).verdict is FAIL


def test_writes_after_the_healing_are_not_waited_for() -> None:
    book = healed()
    book.write("a", 3, 60.0)
    book.back("a", 2, "eu", at=50.0, phase="recovery[loss]")
    book.back("a", 3, "eu")
    assert converge(book).verdict is PASS


def test_stores_that_differ_in_the_end_never_converged() -> None:
    book = healed()
    book.back("a", 2, "eu", at=50.0, phase="recovery[loss]")
    book.back("a", 2, "eu")
    book.back("a", 1, "us")
    finding = converge(book)
    assert finding.verdict is FAIL
    assert "1 keys differ between stores in the end: a" in finding.why


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ({"value": 1}, {"value": 2}, False),
        ({"value": 1}, {}, True),
        ({"value": 1}, {"value": 1}, 1),
    ],
)
def test_content_is_compared_where_both_stores_tell_it(
    left: dict[str, Any], right: dict[str, Any], same: bool
) -> None:
    book = healed()
    for store, content in (("eu", left), ("us", right)):
        book.back("a", 2, store, at=50.0, phase="recovery[loss]")
        book.back("a", 2, store, **content)
    assert converge(book).verdict is (PASS if same else FAIL)


def test_lists_are_compared_by_all_their_elements() -> None:
    book = Book()
    for element in (1, 2, 3):
        book.op("append", "l", 33.0, version=element)
    book.write("a", 1, 34.0)
    book.back("a", 1, "eu", at=50.0, phase="recovery[loss]")
    book.back("a", 1, "eu")
    book.back_list("l", [1, 2, 3], "eu")
    book.back_list("l", [3, 2, 1], "us")
    assert converge(book, 40.0).verdict is PASS
    book.back_list("l", [3, 2], "us", at=85.0)
    assert converge(book).verdict is FAIL


def lists(*readings: tuple[str, float, list[int]]) -> Book:
    """1 and 2 are acknowledged before the healing at 49 s, 3 after it; nobody knows of 4."""
    book = Book()
    for element, at in ((1, 33.0), (2, 40.0), (3, 60.0)):
        book.op("append", "l", at, version=element)
    book.op("append", "l", 41.0, version=4, outcome="info")
    for store, at, elements in readings:
        first = len(book.final) + 1
        for element in elements or [None]:
            row = {"kind": "list", "snapshot": first, "phase": "recovery[loss]"}
            book.back("l", element, store, at, **row)
    for store in ("eu", "us"):
        book.back_list("l", [1, 2, 3], store)
    return book


@pytest.mark.parametrize(
    ("readings", "wanted", "bound"),
    [
        ([("eu", 51.0, [1, 2]), ("us", 52.0, [2, 1])], PASS, 3.01),
        ([("eu", 51.0, [1, 2]), ("us", 52.0, [1, 1])], INCONCLUSIVE, 31.01),
        ([("eu", 51.0, [1, 2]), ("us", 52.0, []), ("us", 55.0, [1, 2, 3])], PASS, 6.01),
        ([("eu", 51.0, [1, 2]), ("us", 61.0, [1, 3])], FAIL, 31.01),
        ([("eu", 51.0, [1, 2, 4])], INCONCLUSIVE, 31.01),
    ],
)
def test_a_list_has_caught_up_when_it_holds_all_that_had_been_acknowledged(
    readings: list[tuple[str, float, list[int]]], wanted: Verdict, bound: float
) -> None:
    finding = converge(lists(*readings))
    assert (finding.verdict, finding.bound) == (wanted, pytest.approx(bound)), finding.why


def test_users_see_when_a_list_had_caught_up_and_lost_elements_are_not_waited_for() -> None:
    book = lists(("us", 51.0, [1, 2]))
    book.list("l", [2, 1], 50.0, region="eu")
    assert converge(book).bound == pytest.approx(2.01)
    lost = Book()
    for element in (1, 2):
        lost.op("append", "l", 33.0, version=element)
    lost.list("l", [1], 50.0, region="eu")
    lost.back_list("l", [1], "eu")
    assert converge(lost).verdict is PASS  # the loss is ackedWrites' to find


def test_nothing_broken_nothing_read_or_nothing_healed_is_no_convergence() -> None:
    quiet = Book(faults=0)
    quiet.write("a", 1, 12.0)
    quiet.back("a", 1, "eu", at=45.0)
    assert "nothing was broken" in converge(quiet).why
    assert "nothing was read back" in converge(healed()).why


def look(store: str, *, found: bool = False, phase: str = "final", **row: Any) -> dict[str, Any]:
    return {
        "at_ns": Book().ns(85.0),
        "class": "eu-personal",
        "canary": "c-1",
        "store": store,
        "region": store.split("/", maxsplit=1)[0],
        "phase": phase,
        "scanned": True,
        "found": found,
        "searched": 10,
        **row,
    }


PHASES = ("fault[loss]", "final")


def resident(book: Book, **spec: Any) -> Finding:
    return book.judge("residency", **{"data_class": "eu-personal", "allow": ["eu"], **spec})


def scanned() -> Book:
    book = Book()
    book.residency = [
        look(store, found=store == "eu/db", phase=phase)
        for phase in PHASES
        for store in ("eu/db", "us/db", "us/log")
    ]
    return book


def test_a_canary_that_is_where_it_may_be_and_nowhere_else_passes() -> None:
    finding = resident(scanned())
    assert (finding.verdict, finding.samples) == (PASS, 6)


def test_a_canary_elsewhere_is_a_leak_also_while_something_is_broken() -> None:
    book = scanned()
    book.residency.append(look("us/log", found=True, phase="fault[loss]", why="line 7"))
    finding = resident(book)
    assert (finding.verdict, finding.value) == (FAIL, 1.0)
    assert finding.cells[0].name == "c-1 in us/log, fault[loss]"
    assert "line 7" in finding.cells[0].why
    assert resident(book, allow=["eu", "us/log"]).verdict is PASS


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.clear(), "nobody looked for a canary"),
        (lambda rows: [r.update(found=False) for r in rows], "was found where it may be"),
        (lambda rows: rows.pop(), "us/log was not looked through in final"),
        (
            lambda rows: rows[-1].update(scanned=False, why="connection refused"),
            "us/log was not looked through in final: connection refused",
        ),
        (lambda rows: rows[-1].update(searched=0), "found not even what is surely there"),
        (lambda rows: rows[-1].update(control=False), "found not even what is surely there"),
        (lambda rows: rows[-1].update({"class": "other"}), "us/log was not looked through"),
    ],
)
def test_what_was_not_seen_is_not_said_to_be_absent(change: Any, told: str) -> None:
    book = scanned()
    change(book.residency)
    finding = resident(book)
    assert finding.verdict is INCONCLUSIVE
    assert told in finding.why


@pytest.mark.parametrize(
    ("after_s", "found", "verdict"),
    [(6.0, False, PASS), (20.0, False, PASS), (20.5, False, INCONCLUSIVE), (6.0, True, FAIL)],
)
def test_what_a_fault_held_still_is_looked_through_once_it_answers(
    after_s: float, found: bool, verdict: Verdict
) -> None:
    """Twice the 10 s between rounds: later, what was there could be gone."""
    book = scanned()
    (dark,) = [
        row for row in book.residency if (row["store"], row["phase"]) == ("us/db", PHASES[0])
    ]
    dark.update(scanned=False, why="did not answer within 5 s", at_ns=book.ns(40.0))
    after = look("us/db", phase="recovery[loss]", at_ns=book.ns(40.0 + after_s), found=found)
    book.residency.append(after)
    finding = resident(book)
    assert finding.verdict is verdict
    assert finding.detail["looked_through_after"] == (after_s <= 20)
    after.update(scanned=False, why="did not answer within 5 s")
    assert resident(book).verdict is INCONCLUSIVE  # asked again, and in vain again
    dark["store"] = "us/other"  # nobody even tried
    assert resident(book).verdict is not PASS


def test_an_empty_store_is_empty_where_its_control_was_found() -> None:
    book = scanned()
    book.residency[-1].update(searched=0, control=True)
    assert resident(book).verdict is PASS


def test_every_store_that_the_gate_or_the_target_lists_is_looked_through() -> None:
    book = scanned()
    assert (
        "asia/db was not looked through in fault[loss]"
        in resident(book, scan=["eu/db", "asia/db"]).why
    )
    stores = tuple(
        Store(name=name, reader=reader)
        for name, reader in (("eu/db", "postgres"), ("us/cache", "redis"), ("door", "http"))
    )
    book.plan = replace(book.plan, target=replace(book.plan.target, stores=stores))
    finding = resident(book)
    assert finding.verdict is INCONCLUSIVE
    assert "us/cache was not looked through in fault[loss]" in finding.why


def test_an_answer_from_elsewhere_to_a_request_of_the_class_is_a_leak() -> None:
    book = scanned()
    book.read("a", 1, 33.0, shard="eu", region="eu")
    book.read("b", 1, 33.0, shard="us", region="us")
    assert resident(book, shards=["eu"]).verdict is PASS
    book.read("a", 1, 34.0, shard="eu", region="us")
    assert resident(book).verdict is PASS
    finding = resident(book, shards=["eu"])
    assert (finding.verdict, finding.detail["served_elsewhere"]) == (FAIL, 1)
    book.users[-1]["outcome"] = "fail"  # refused: that is availability
    assert resident(book, shards=["eu"]).verdict is PASS
