"""bank and counter on histories by hand, with the cases of Jepsen's checkers."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.judge.book import Book

from stormgate.model import Finding, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def counter(book: Book, **spec: Any) -> Finding:
    return book.judge("counter", **spec)


def counted(adds: list[tuple[int, str]], value: int, **read: Any) -> Book:
    """Additions that have all ended, and the counter read back."""
    book = Book()
    for at, (amount, outcome) in enumerate(adds):
        book.op("add", "c", 33.0 + at, value=amount, outcome=outcome)
    book.back("c", None, "eu", kind="count", value=value, **read)
    return book


@pytest.mark.parametrize(
    ("adds", "value", "wanted"),
    [
        ([(1, "ok"), (1, "ok")], 2, PASS),
        ([(1, "ok"), (1, "ok")], 1, FAIL),  # lost
        ([(1, "ok"), (1, "ok")], 3, FAIL),  # twice
        ([(1, "ok"), (5, "info")], 1, PASS),
        ([(1, "ok"), (5, "info")], 6, PASS),
        ([(1, "ok"), (5, "info")], 7, FAIL),
        ([(1, "ok"), (5, "fail")], 6, FAIL),
        ([(5, "ok"), (-2, "ok")], 3, PASS),
        ([(5, "ok"), (-2, "info")], 3, PASS),
        ([(5, "ok"), (-2, "info")], 2, FAIL),
    ],
)
def test_a_counter_stands_between_the_certain_and_the_possible(
    adds: list[tuple[int, str]], value: int, wanted: Verdict
) -> None:
    assert counter(counted(adds, value)).verdict is wanted


def test_an_addition_under_way_may_be_seen_or_not() -> None:
    for value, wanted in ((0, PASS), (3, PASS), (4, FAIL)):
        book = counted([(1, "ok")], 4)
        book.users = []
        book.op("add", "c", 33.0, done=35.0, value=3)
        book.op("count", "c", 34.0, value=value)
        book.op("add", "c", 36.0, value=1)
        assert counter(book).verdict is wanted, value


def test_a_counter_begins_where_the_gate_says() -> None:
    assert counter(counted([(1, "ok")], 11), initial=10).verdict is PASS
    finding = counter(counted([(1, "ok")], 11))
    assert finding.verdict is FAIL
    assert "stood at 11, between 1 and 1 is possible: some count twice" in finding.cells[0].why


def test_nothing_added_not_read_back_too_few_readings_or_additions_unnoted() -> None:
    assert "nobody added" in counter(Book()).why
    book = counted([(1, "ok")], 1)
    assert counter(book, min_samples=2).verdict is INCONCLUSIVE
    book.final = []
    assert "nothing was read back" in counter(book).why
    book = counted([(1, "ok")], 2)
    book.generator = {"flow_errors_over_failures": 1}
    assert counter(book).verdict is INCONCLUSIVE


def bank(book: Book, **spec: Any) -> Finding:
    return book.judge("bank", **{"total": 20, "initial": 10, **spec})


def moved(
    held: tuple[int, int], *, outcome: str = "ok", seen: tuple[int, int] | None = None
) -> Book:
    """3 move from x to y; the accounts are read meanwhile and in the end."""
    book = Book()
    book.op("transfer", "x", 33.0, value=3, to="y", outcome=outcome)
    if seen is not None:
        first = len(book.users) + 1
        for key, value in zip("xy", seen, strict=True):
            book.op("balance", key, 34.0, value=value, snapshot=first)
    for key, value in zip("xy", held, strict=True):
        book.back(key, None, "eu", kind="balance", value=value, snapshot=1)
    return book


@pytest.mark.parametrize(
    ("held", "outcome", "wanted"),
    [
        ((7, 13), "ok", PASS),
        ((7, 10), "ok", FAIL),  # on its way for ever
        ((10, 13), "ok", FAIL),  # made
        ((10, 10), "ok", FAIL),  # lost: every sum is right
        ((4, 16), "ok", FAIL),  # applied twice: every sum is right
        ((10, 10), "info", PASS),
        ((7, 13), "info", PASS),
        ((10, 10), "fail", PASS),
        ((7, 13), "fail", FAIL),
    ],
)
def test_accounts_hold_what_their_transfers_left_them(
    held: tuple[int, int], outcome: str, wanted: Verdict
) -> None:
    assert bank(moved(held, outcome=outcome)).verdict is wanted


def test_every_reading_of_all_accounts_adds_up() -> None:
    assert bank(moved((7, 13), seen=(10, 10))).verdict is PASS
    finding = bank(moved((7, 13), seen=(7, 10)))
    assert (finding.verdict, finding.samples) == (FAIL, 2)
    assert "hold 17 in all, not 20" in finding.cells[0].why
    finding = bank(moved((7, 13), seen=(-3, 23)))
    assert finding.verdict is FAIL
    assert "holds -3" in finding.cells[0].why
    assert bank(moved((7, 13), seen=(-3, 23)), overdraft=True).verdict is PASS


def test_a_reading_of_some_accounts_adds_up_to_nothing() -> None:
    book = moved((7, 13))
    book.op("balance", "x", 34.0, value=1, snapshot=2)
    assert bank(book).verdict is PASS
    assert bank(book, min_samples=2).verdict is INCONCLUSIVE


def test_stores_that_hold_an_account_differently() -> None:
    book = moved((7, 13))
    book.back("y", None, "us", kind="balance", value=10, snapshot=3)
    finding = bank(book)
    assert finding.verdict is FAIL
    assert finding.cells[0].why == "holds 13 in eu and 10 in us"


def test_no_transfer_no_reading_a_total_that_cannot_be_or_transfers_unnoted() -> None:
    assert "nobody moved money" in bank(Book()).why
    book = moved((7, 13))
    assert bank(book, total=30).verdict is FAIL
    book.final = []
    assert "2 accounts of 10 make 20, total is 30" in str(bank(book, total=30).detail["doubts"])
    assert bank(book).verdict is INCONCLUSIVE
    book = moved((10, 10))
    book.generator = {"flow_errors": 1}
    finding = bank(book)
    assert finding.verdict is INCONCLUSIVE
    assert "2 accounts not as its transfers left it" in finding.why
