"""The search for the cause, over causes that are planted: what was planted is kept, every decoy is
gone, whatever the order, also when tries are wrong now and then and when it is stopped.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stormgate.reproduce.recorded import Trial
from stormgate.reproduce.schedule import Segment, schedule_of
from stormgate.reproduce.shrink.case import Case
from stormgate.reproduce.shrink.ddmin import ddmin, least
from stormgate.reproduce.shrink.decide import TryCount, Trying, lead_needed
from stormgate.reproduce.shrink.journal import OtherSearchError, ShrinkJournal
from stormgate.reproduce.shrink.search import BudgetSpent, Limits, Search, Shrunk

F, H, U = Trying.FAILS, Trying.HOLDS, Trying.UNDECIDED


@given(st.lists(st.integers(), unique=True, max_size=12), st.data())
def test_ddmin_ends_with_the_planted_items_alone(items: list[int], data: st.DataObject) -> None:
    planted = data.draw(st.sets(st.sampled_from(items), min_size=1)) if items else set()
    asked: list[tuple[int, ...]] = []

    def fails(part: object) -> bool:
        asked.append(tuple(part))  # type: ignore[arg-type]
        return planted <= set(part)  # type: ignore[call-overload]

    found = ddmin(items, fails)
    assert found == ([i for i in items if i in planted] if planted else items)
    assert () not in asked
    assert tuple(items) not in asked


def test_one_cause_of_six_is_found_in_few_tries() -> None:
    for cause in range(6):
        asked = []
        ddmin(range(6), lambda part, cause=cause, asked=asked: asked.append(part) or cause in part)
        assert len(asked) <= 5


@given(st.floats(0.5, 1000), st.floats(1.05, 2))
def test_the_least_that_fails_is_found_within_its_ratio(threshold: float, ratio: float) -> None:
    found = least(1000, 0, lambda value: value >= threshold, ratio=ratio, step=0.01)
    assert threshold <= found <= max(threshold * ratio, threshold + 0.01) * 1.0001
    less = least(1, 10_000, lambda value: value <= threshold + 1, ratio=ratio)
    assert less <= threshold + 1 <= less * ratio * 1.0001


@pytest.mark.parametrize(
    ("tries", "lead", "answer"),
    [
        ([], 1, None),
        ([F], 1, F),
        ([H], 1, H),
        ([F], 2, None),
        ([F, F], 2, F),
        ([F, H], 1, None),
        ([F, H, H], 1, H),
        ([U, U], 1, None),
        ([U, U, U], 1, U),
        ([U, U, F], 1, F),
        ([U, U, U, F], 2, None),
        ([F, H] * 15, 2, U),
    ],
)
def test_a_case_is_decided_by_a_lead(tries: list[Trying], lead: int, answer: Trying | None) -> None:
    assert TryCount.of(tries).decided(lead) is answer


def test_the_lead_follows_from_how_often_a_try_is_wrong() -> None:
    assert [lead_needed(f, 0.05) for f in (0, 0.01, 0.05, 0.1, 0.2, 0.4)] == [1, 1, 1, 2, 3, 8]
    assert [lead_needed(f) for f in (0, 0.1, 0.2)] == [1, 3, 5]
    with pytest.raises(ValueError, match="tells nothing"):
        lead_needed(0.5)


# A simulated system: it fails when every planted fault is there, long and strong enough, and
# somebody who notices asks, often enough.
@dataclass
class Planted:
    faults: dict[str, tuple[float, float]]
    population: str = "london"
    rate_per_s: float = 15.0
    wrong: float = 0.0
    draw: random.Random = field(default_factory=lambda: random.Random(1))
    asked: int = 0
    budget: int = 10**6

    def fails(self, case: Case) -> bool:
        segments = [s for t in case.trials for s in t.schedule.segments]
        there = all(
            any(
                s.fault == name and s.length_s >= length_s and s.params["latency_ms"] >= strength
                for s in segments
            )
            for name, (length_s, strength) in self.faults.items()
        )
        return there and self.population in case.populations and case.rate_per_s >= self.rate_per_s

    def ask(self, case: Case) -> Trying:
        if self.asked >= self.budget:
            raise BudgetSpent
        self.asked += 1
        truth = self.fails(case)
        return Trying.FAILS if truth != (self.draw.random() < self.wrong) else Trying.HOLDS


class Memory:
    """Notes that are not on disk."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Trying]] = {}
        self.steps: list[str] = []

    def tries(self, case: Case) -> list[Trying]:
        return list(self.kept.get(case.key, ()))

    def tried(self, case: Case, what: Trying, step: str) -> None:
        self.kept.setdefault(case.key, []).append(what)
        self.steps.append(f"{step}: {what}")


PEOPLE = ("new-york", "london", "tokyo", "lima")


def whole(faults: list[str], per_trial: int = 3) -> Case:
    trials = []
    for at in range(0, len(faults), per_trial):
        segments = [
            Segment(
                start_s=float(i),
                length_s=10.0,
                where=name,
                mode="slow",
                params={"latency_ms": 200, "jitter_ms": 50},
                fault=name,
            )
            for i, name in enumerate(faults[at : at + per_trial])
        ]
        trials.append(Trial(name=f"trial-{at}", schedule=schedule_of(segments), recovery_s=5.0))
    return Case(trials=tuple(trials), populations=PEOPLE, rate_per_s=120.0)


def shrunk(planted: Planted, case: Case, flaky: float = 0.0) -> Shrunk:
    return Search(case, planted.ask, Memory(), Limits(length_s=0.5, flaky=flaky)).run()


def assert_only_the_planted(found: Shrunk, planted: Planted) -> None:
    """What is left is what was planted, about as long and as strong as it has to be."""
    assert (found.confirmed, found.ended, found.needs_faults) == (True, True, True)
    assert {fault for _, fault in found.case.units} == set(planted.faults)
    assert planted.fails(found.case)
    for one in (s for t in found.case.trials for s in t.schedule.segments):
        length_s, strength = planted.faults[one.fault]
        assert one.length_s <= 1.5 * max(length_s * 1.31, length_s + 0.51) + 0.01
        assert one.params["latency_ms"] <= 1.5 * max(strength * 1.3, strength + 3) + 1
        assert one.params["jitter_ms"] <= one.params["latency_ms"]
    assert found.case.populations == (planted.population,)
    assert found.case.rate_per_s <= 1.5 * planted.rate_per_s * 1.51
    # The least itself, and room up to what it was, so that the edge does not decide.
    assert found.least is not None
    for one in (s for t in found.least.trials for s in t.schedule.segments):
        length_s, strength = planted.faults[one.fault]
        assert one.length_s <= max(length_s * 1.31, length_s + 0.51)
        assert one.params["latency_ms"] <= max(strength * 1.3, strength + 3)
        (roomy,) = found.case.segments(*_unit(found.case, one.fault))
        assert roomy.length_s >= min(10.0, 1.49 * one.length_s)
        assert roomy.params["latency_ms"] >= min(200, 1.49 * one.params["latency_ms"] - 1)


def _unit(case: Case, fault: str) -> tuple[str, str]:
    return next(one for one in case.units if one[1] == fault)


NAMES = [f"fault-{i}" for i in range(7)]


@settings(max_examples=60, deadline=None)
@given(
    st.permutations(NAMES),
    st.dictionaries(
        st.sampled_from(NAMES),
        st.tuples(st.floats(0.6, 9.0), st.floats(2.0, 150.0)),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 7),
    st.sampled_from(PEOPLE),
)
def test_what_was_planted_is_kept_and_every_decoy_is_gone(
    order: list[str], faults: dict[str, tuple[float, float]], per_trial: int, who: str
) -> None:
    planted = Planted(faults, population=who)
    assert_only_the_planted(shrunk(planted, whole(order, per_trial)), planted)


@pytest.mark.parametrize("seed", range(10))
def test_a_flaky_cause_is_found_where_it_is_known_to_be_flaky(seed: int) -> None:
    """One try in ten is wrong: the lead needed makes every step right (0.05 over a search)."""
    planted = Planted({"fault-2": (3.0, 80.0)}, wrong=0.1, draw=random.Random(seed))
    found = shrunk(planted, whole(NAMES[:6]), flaky=0.1)
    assert {fault for _, fault in found.case.units} == {"fault-2"}
    assert found.confirmed


def test_flakiness_that_nobody_knew_of_is_noticed_and_more_is_tried() -> None:
    right = 0
    for seed in range(20):
        planted = Planted({"fault-2": (3.0, 80.0)}, wrong=0.1, draw=random.Random(seed))
        found = shrunk(planted, whole(NAMES[:6]))
        if not found.confirmed:
            continue
        right += {fault for _, fault in found.case.units} == {"fault-2"}
        assert "fault-2" in {fault for _, fault in found.case.units}
    assert right >= 8


def test_a_failure_that_needs_no_fault_is_told_to_be_one() -> None:
    planted = Planted({})
    found = shrunk(planted, whole(NAMES[:6]))
    assert (found.needs_faults, found.case.units, found.confirmed) == (False, (), True)


def test_what_does_not_fail_is_not_shrunk() -> None:
    planted = Planted({"fault-1": (99.0, 1.0)})
    found = shrunk(planted, whole(NAMES[:6]))
    assert (found.confirmed, found.why) == (False, "everything together holds")
    assert planted.asked == 2


def test_turns_that_do_not_matter_are_taken_away() -> None:
    turns = [
        Segment(start_s=4.0 * i, length_s=2.0, where="c", mode="crash", params={}, fault="crash c")
        for i in range(4)
    ]
    case = Case(
        trials=(Trial(name="t", schedule=schedule_of(turns), recovery_s=1.0),),
        populations=("a",),
        rate_per_s=10.0,
    )
    for needed in (1, 2, 4):

        def ask(case: Case, needed: int = needed) -> Trying:
            found = [s for t in case.trials for s in t.schedule.segments if s.length_s >= 1.9]
            return Trying.FAILS if len(found) >= needed else Trying.HOLDS

        found = Search(case, ask, Memory(), Limits()).run()
        segments = found.case.trials[0].schedule.segments
        assert len(segments) == needed
        assert segments[0].start_s == 0


@pytest.mark.parametrize("budget", [0, 1, 3, 7, 15])
def test_one_that_was_stopped_goes_on_where_it_stood(tmp_path: Path, budget: int) -> None:
    faults = {"fault-4": (3.0, 80.0)}
    case, path = whole(NAMES[:6]), tmp_path / "shrink.ndjson"
    straight = Planted(faults)
    wanted = Search(case, straight.ask, Memory(), Limits()).run()
    first = Planted(faults, budget=budget)
    stopped = Search(case, first.ask, ShrinkJournal(path, {"run": "r"}), Limits()).run()
    assert (stopped.ended, stopped.confirmed, first.asked) == (False, False, budget)
    assert straight.fails(stopped.case)
    with path.open("ab") as file:
        file.write(b'{"case": "torn')
    second = Planted(faults)
    journal = ShrinkJournal(path, {"run": "r"})
    assert journal.resumed == budget
    assert Search(case, second.ask, journal, Limits()).run() == wanted
    assert budget + second.asked == straight.asked
    third = Planted(faults, budget=0)
    again = Search(case, third.ask, ShrinkJournal(path, {"run": "r"}), Limits()).run()
    assert again == wanted
    with pytest.raises(OtherSearchError, match="another search"):
        ShrinkJournal(path, {"run": "other"})


def test_what_could_not_be_decided_is_tried_again_when_it_goes_on(tmp_path: Path) -> None:
    case, path = whole(NAMES[:2]), tmp_path / "shrink.ndjson"
    lost = Search(case, lambda _: Trying.UNDECIDED, ShrinkJournal(path, {}), Limits()).run()
    assert lost.why == "everything together undecided"
    planted = Planted({"fault-1": (1.0, 10.0)})
    assert Search(case, planted.ask, ShrinkJournal(path, {}), Limits()).run().confirmed


def test_what_cannot_be_decided_is_not_taken_for_smaller() -> None:
    planted = Planted({"fault-1": (1.0, 10.0)})

    def ask(case: Case) -> Trying:
        if len(case.units) == 1:
            return Trying.UNDECIDED
        return planted.ask(case)

    found = Search(whole(NAMES[:4]), ask, Memory(), Limits()).run()
    assert "fault-1" in {fault for _, fault in found.case.units}
    assert len(found.case.units) == 2
