"""monotonicReads, readYourWrites and staleness on histories by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.judge.book import Book

from stormgate.model import Finding, Population, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def judged(book: Book, kind: str, **spec: Any) -> Finding:
    return book.judge(kind, **{"min_samples": 1, **spec})


def test_who_saw_a_version_sees_no_older_one_after_it() -> None:
    book = Book()
    book.read("a", 2, 33.0, region="eu")
    book.read("a", 2, 34.0)
    assert judged(book, "monotonicReads").verdict is PASS
    book.read("a", 1, 35.0, region="us")
    finding = judged(book, "monotonicReads")
    assert (finding.verdict, finding.value, finding.samples) == (FAIL, 1.0, 2)
    assert finding.cells[0].why == (
        "read version 1 (w0/0, answered by us at 35.010 s) after reading version 2 "
        "(w0/0, answered at 34.010 s)"
    )
    assert judged(book, "monotonicReads", max_bad=1).verdict is PASS


def test_what_was_there_and_is_gone_goes_back_too() -> None:
    book = Book()
    book.read("a", 2, 33.0)
    book.read("a", None, 35.0)
    finding = judged(book, "monotonicReads")
    assert finding.verdict is FAIL
    assert "read nothing" in finding.cells[0].why


@pytest.mark.parametrize("other", [{"session": "w0/9"}, {"key": "b"}, {"outcome": "fail"}])
def test_other_sessions_other_keys_and_failed_reads_are_no_matter(other: dict[str, Any]) -> None:
    book = Book()
    book.read("a", 2, 33.0)
    book.read("a", 2, 34.0)
    book.read(other.pop("key", "a"), 1, 35.0, **other)
    assert judged(book, "monotonicReads").verdict is PASS


def test_reads_that_overlap_have_no_order() -> None:
    book = Book()
    book.read("a", 2, 33.0, done=33.5)
    book.read("a", 1, 33.4, done=33.6)
    finding = judged(book, "monotonicReads")
    assert finding.verdict is INCONCLUSIVE
    assert "0 reads of a key after reading it in the same session, 1 wanted" in finding.why


def test_who_wrote_a_version_reads_it_or_a_newer_one() -> None:
    book = Book()
    book.write("a", 2, 33.0)
    book.read("a", 2, 34.0)
    book.read("a", 3, 34.1)
    book.read("a", 1, 34.2, session="w0/9")  # no write of theirs
    assert judged(book, "readYourWrites").verdict is PASS
    book.read("a", 1, 35.0)
    finding = judged(book, "readYourWrites")
    assert (finding.verdict, finding.value, finding.samples) == (FAIL, 1.0, 3)
    assert finding.cells[0].detail["before"]["version"] == 2


def test_a_write_nobody_acknowledged_promises_nothing() -> None:
    book = Book()
    book.write("a", 2, 33.0, outcome="info")
    book.write("a", 1, 33.0)
    book.read("a", 1, 34.0)
    assert judged(book, "readYourWrites").verdict is PASS


def test_too_few_reads_that_could_have_gone_back() -> None:
    book = Book()
    book.write("a", 1, 33.0)
    book.read("a", 1, 34.0)
    finding = judged(book, "readYourWrites", min_samples=2)
    assert finding.verdict is INCONCLUSIVE
    assert "1 read of a key after writing it in the same session, 2 wanted" in finding.why
    assert "share_at_most" in finding.detail


def stale(ages_s: list[float], population: str = "london") -> Book:
    """Version 2 is acknowledged at 33 s; reads of version 1 begin so long after it."""
    book = Book()
    book.write("a", 1, 12.0)
    book.write("a", 2, 32.99)
    for age in ages_s:
        book.read("a", 1, 33.0 + age, population=population)
    for number in range(200):
        book.read("a", 2, 40.0 + number / 50, population=population)
    return book


def test_staleness_is_the_time_since_a_newer_version_was_acknowledged() -> None:
    finding = judged(stale([0.5, 1.5]), "staleness", quantile=1.0, lte_ms=2000)
    assert (finding.verdict, finding.samples) == (PASS, 202)
    assert finding.value == pytest.approx(1500)
    assert finding.detail["stale_reads"] == 2
    finding = judged(stale([0.5, 2.5]), "staleness", quantile=1.0, lte_ms=2000)
    assert finding.verdict is FAIL
    assert finding.cells[0].name == "london"
    oldest = finding.cells[0].detail["oldest"]
    assert [(one["key"], one["version"]) for one in oldest] == [("a", 1), ("a", 1)]
    assert [one["stale_ms"] for one in oldest] == [pytest.approx(2500), pytest.approx(500)]
    assert "oldest: a, version 1 to w0/0, answered at 35.510 s, 2,500 ms" in finding.cells[0].why


def test_a_quantile_of_the_staleness_is_held_with_confidence() -> None:
    assert judged(stale([5.0] * 1), "staleness", quantile=0.9, lte_ms=2000).verdict is PASS
    many = stale([4 + n * 0.06 for n in range(500)])
    assert judged(many, "staleness", quantile=0.9, lte_ms=2000).verdict is FAIL
    some = stale([4 + n / 10 for n in range(18)])
    assert judged(some, "staleness", quantile=0.9, lte_ms=2000).verdict is INCONCLUSIVE


def test_the_first_newer_version_to_be_acknowledged_counts() -> None:
    """The ack of version 2 was lost, that of 3 came: who reads 1 is behind since 3."""
    book = Book()
    book.write("a", 1, 12.0)
    book.write("a", 2, 33.0, outcome="info")
    book.write("a", 3, 34.99)
    book.read("a", 1, 36.0)
    finding = judged(book, "staleness", quantile=1.0, lte_ms=1500)
    assert (finding.verdict, finding.value) == (PASS, pytest.approx(1000))


def test_a_key_that_nobody_had_written_cannot_be_stale() -> None:
    book = Book()
    book.read("a", None, 33.0)
    book.write("a", 1, 34.0)
    finding = judged(book, "staleness", lte_ms=100)
    assert finding.verdict is INCONCLUSIVE
    assert finding.samples == 0
    assert "no read of a key that had been written before" in finding.why


def test_what_is_not_there_is_as_stale_as_the_first_write_is_old() -> None:
    book = Book()
    book.write("a", 1, 12.0, done=13.0)
    book.read("a", None, 33.0)
    finding = judged(book, "staleness", quantile=1.0, lte_ms=100)
    assert (finding.verdict, finding.value) == (FAIL, pytest.approx(20_000))


def test_clocks_that_do_not_agree_measure_no_staleness() -> None:
    book = stale([])
    book.generator = {"clock_error_ms": 6.0}
    finding = judged(book, "staleness", lte_ms=2000, quantile=0.9)
    assert finding.verdict is INCONCLUSIVE
    assert "clocks agree to 6 ms only" in finding.why
    book = Book()  # within the error nothing is stale
    book.generator = {"clock_error_ms": 4.0}
    book.write("a", 1, 12.0)
    book.write("a", 2, 32.99)
    book.read("a", 1, 33.003)
    assert judged(book, "staleness", lte_ms=1, quantile=1.0).value == 0.0


def test_a_population_that_read_nothing_is_not_fresh() -> None:
    book = stale([])
    people = tuple(
        Population(name=name, share=0.5, latitude=0, longitude=0) for name in ("london", "tokyo")
    )
    book.plan = replace(book.plan, target=replace(book.plan.target, populations=people))
    finding = judged(book, "staleness", lte_ms=2000, quantile=0.9)
    assert finding.verdict is INCONCLUSIVE
    assert finding.why == "tokyo: read nothing that had been written"


def test_reads_outside_the_phases_do_not_count() -> None:
    book = Book()
    book.write("a", 2, 5.0)
    book.read("a", 1, 8.0)
    book.read("a", 2, 33.0)
    assert judged(book, "staleness", lte_ms=1, quantile=1.0).samples == 1
