"""Thousands of random histories of a store that loses, duplicates, forks, goes stale and back:
every planted anomaly is found, and none is invented. The oracles are loops over rows, and share
nothing with what is tried.

STORMGATE_HISTORIES says how many histories (200 without it).
"""

from __future__ import annotations

import itertools
import os
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.unit.judge.book import Book

from stormgate.evidence.timeline import fault_windows
from stormgate.judge.context import JudgeContext
from stormgate.judge.histories.data import data_of
from stormgate.judge.registry import JudgeTask, kinds
from stormgate.judge.rules.generator import health_of
from stormgate.model import Finding, Objective, Verdict

HISTORIES = int(os.environ.get("STORMGATE_HISTORIES", "200"))
BATCHES = 10
PASS, FAIL = Verdict.PASS, Verdict.FAIL
STORES = ("eu", "us", "asia")
Row = dict[str, Any]


def batch(number: int) -> range:
    """The seeds of one of BATCHES parts."""
    each = max(1, HISTORIES // BATCHES)
    return range(number * each, (number + 1) * each)


class Court:
    """One history judged by several kinds, its data evidence read once."""

    def __init__(self, book: Book) -> None:
        run = book.run()
        data = data_of(run, None, None)
        faults = fault_windows(run.timeline, run.phases(), book.plan.faults)
        health = health_of(run.generator, book.plan.validity, 0, 0, 0.0)
        self.context = JudgeContext(book.plan, run.phases(), faults, health, (), data)

    def say(self, name: str, **spec: Any) -> Finding:
        kind = kinds()[name]
        objective = Objective(name=name, kind=name, spec=spec)
        task = JudgeTask(objective, kind.spec_model.model_validate(spec), self.context)
        return kind.judge(task).finish().finding


@dataclass
class Planted:
    """What went wrong in a simulated store, by what should find it."""

    lost: set[tuple[str, int]] = field(default_factory=set)
    unexpected: set[tuple[str, int, str]] = field(default_factory=set)
    doubled: set[tuple[str, int, str]] = field(default_factory=set)
    forks: int = 0


class Simulation:
    """A store of registers and lists with three replicas. Writes take effect at one moment between
    their invocation and their acknowledgement; some are never acknowledged, and took effect or not.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.book = Book()
        self.planted = Planted()
        self.at = 12.0
        self.nonce = 0
        self.held: dict[str, dict[str, tuple[int, int] | None]] = {}
        self.lists: dict[str, list[int]] = {}
        self.acked: dict[str, list[tuple[int, int]]] = {}
        self.acked_elements: dict[str, list[int]] = {}
        self.kept: set[tuple[str, int, str]] = set()
        self.rolled: set[str] = set()

    def run(self, operations: int) -> Simulation:
        keys = [f"r{n}" for n in range(self.random.randint(1, 4))]
        lists = [f"l{n}" for n in range(self.random.randint(0, 2))]
        for _ in range(operations):
            self.at += self.random.random() * 0.5
            if lists and self.random.random() < 0.25:
                self.append(self.random.choice(lists))
            elif self.random.random() < 0.5:
                self.write(self.random.choice(keys))
            else:
                self.read(self.random.choice(keys))
        return self

    @property
    def who(self) -> dict[str, Any]:
        return {
            "session": f"w0/{self.random.randint(0, 3)}",
            "region": self.random.choice(STORES),
            "population": "london",
        }

    def outcome(self) -> tuple[str, bool]:
        """(what the user is told, whether it took effect)."""
        told = self.random.choices(("ok", "info", "fail"), (8, 1, 1))[0]
        return told, told == "ok" or (told == "info" and self.random.random() < 0.5)

    def write(self, key: str) -> None:
        held = self.held.setdefault(key, dict.fromkeys(STORES))
        told, done = self.outcome()
        self.nonce += 1
        current = max((h[0] for h in held.values() if h), default=0)
        version = current + 1
        # Who was told nothing does not know the version that the server gave.
        known = version if told == "ok" or self.random.random() < 0.5 else None
        self.book.write(key, known, self.at, value=self.nonce, outcome=told, **self.who)
        if told == "ok":
            self.acked.setdefault(key, []).append((version, self.nonce))
        if done:
            for store in STORES:
                held[store] = (version, self.nonce)

    def read(self, key: str) -> None:
        held = self.held.get(key, {}).get("eu")
        version = held[0] if held else None
        self.book.read(key, version, self.at, **self.who)

    def append(self, key: str) -> None:
        told, done = self.outcome()
        self.nonce += 1
        self.book.op("append", key, self.at, version=self.nonce, outcome=told, **self.who)
        self.lists.setdefault(key, [])
        if told == "ok":
            self.acked_elements.setdefault(key, []).append(self.nonce)
        if done:
            self.lists[key].append(self.nonce)

    def read_back(self) -> Book:
        for key, held in self.held.items():
            for store in STORES:
                one = held[store]
                version, value = one or (None, None)
                self.book.back(key, version, store, value=value)
        for key, elements in self.lists.items():
            for store in STORES:
                self.book.back_list(key, self.stored(key, store, elements), store)
        return self.book

    def stored(self, key: str, store: str, elements: list[int]) -> list[int]:
        planted = self.planted
        kept = [e for e in elements if (key, e) not in planted.lost or self.keeps(key, e, store)]
        kept += [e for k, e, s in sorted(planted.doubled) if (k, s) == (key, store)]
        kept += [e for k, e, s in sorted(planted.unexpected) if (k, s) == (key, store)]
        self.random.shuffle(kept)
        return kept

    def keeps(self, key: str, element: int, store: str) -> bool:
        return (key, element, store) in self.kept

    def plant(self) -> None:
        """Some anomalies, each of a kind chosen at random."""
        for _ in range(self.random.randint(1, 3)):
            self.random.choice((self.roll_back, self.lose_element, self.double, self.invent))()

    def roll_back(self) -> None:
        """A store forgets the newest versions of a key."""
        keys = [key for key in sorted(self.acked) if key not in self.rolled]
        if not keys:
            return
        key, store = self.random.choice(keys), self.random.choice(STORES)
        self.rolled.add(key)
        versions = [0, *[v for v, _ in self.acked[key]]]
        back = self.random.choice(versions)
        value = dict(self.acked[key]).get(back)
        self.held[key][store] = (back, value) if value is not None else None
        self.planted.lost |= {(key, v) for v, _ in self.acked[key] if v > back}

    def lose_element(self) -> None:
        doubled = {(key, element) for key, element, _ in self.planted.doubled}
        some = [(k, e) for k, found in sorted(self.acked_elements.items()) for e in found]
        some = [one for one in some if one not in doubled | self.planted.lost]
        if some:
            key, element = self.random.choice(some)
            self.planted.lost.add((key, element))
            keeping = self.random.sample(STORES, self.random.randint(0, 2))
            self.kept |= {(key, element, store) for store in keeping}

    def double(self) -> None:
        some = [
            (key, e)
            for key, found in sorted(self.lists.items())
            for e in found
            if (key, e) not in self.planted.lost
        ]
        if some:
            self.planted.doubled.add((*self.random.choice(some), self.random.choice(STORES)))

    def invent(self) -> None:
        if self.lists:
            key = self.random.choice(sorted(self.lists))
            self.nonce += 1
            self.planted.unexpected.add((key, -self.nonce, self.random.choice(STORES)))


def lenient(court: Court, name: str, **spec: Any) -> Finding:
    return court.say(name, **{"min_writes_near_fault": 1, **spec})


@pytest.mark.parametrize("number", range(BATCHES))
def test_a_healthy_store_is_never_accused(number: int) -> None:
    for seed in batch(number):
        simulation = Simulation(seed).run(40)
        court = Court(simulation.read_back())
        for finding in (
            lenient(court, "ackedWrites"),
            lenient(court, "splitBrain"),
            court.say("monotonicReads", min_samples=1),
            court.say("readYourWrites", min_samples=1),
            court.say("staleness", quantile=1.0, lte_ms=1, phases=["warmup", "steady"]),
            court.say("convergence", within_s=60),
        ):
            assert finding.verdict is not FAIL, (seed, finding)
        assert lenient(court, "ackedWrites").detail["lost"] == 0, seed


@pytest.mark.parametrize("number", range(BATCHES))
def test_what_was_planted_is_found_and_nothing_else(number: int) -> None:
    for seed in batch(number):
        simulation = Simulation(seed).run(40)
        simulation.plant()
        planted = simulation.planted
        finding = lenient(Court(simulation.read_back()), "ackedWrites")
        lost = [cell.detail for cell in finding.cells if "missing" in cell.detail]
        found = {(detail["key"], detail["version"]) for detail in lost}
        assert found == planted.lost, seed
        assert finding.detail["lost"] == len(planted.lost), seed
        assert finding.detail["unexpected"] == len(planted.unexpected), seed
        assert finding.detail["duplicates"] == len(planted.doubled), seed
        wrong = planted.lost or planted.unexpected or planted.doubled
        assert (finding.verdict is FAIL) == bool(wrong), (seed, finding.why)


@pytest.mark.parametrize("number", range(BATCHES))
def test_every_fork_is_counted_once(number: int) -> None:
    """After a partition the old side acknowledges versions that the new one gave to others."""
    for seed in batch(number):
        simulation = Simulation(seed).run(30)
        chance = simulation.random
        book, forked = simulation.book, set()
        acked = [r for r in book.users if r["kind"] == "write" and r["outcome"] == "ok"]
        for row in chance.sample(acked, min(len(acked), chance.randint(0, 3))):
            other = chance.choice([s for s in STORES if s != row["region"]])
            again = chance.random() < 0.3
            value = row["value"] if again else 100_000 + len(forked)
            book.write(row["key"], row["version"], 44.0, region=other, value=value, session="w0/9")
            if not again:
                forked.add((row["key"], row["version"]))
        finding = lenient(Court(simulation.read_back()), "splitBrain")
        assert finding.detail["forks"] == len(forked), seed
        assert {(c.detail["key"], c.detail["version"]) for c in finding.cells} == forked, seed


def reads_back(rows: list[Row], kind: str) -> set[int]:
    """Reads that see an older version than one of their session saw (or wrote) before."""
    found = set()
    for late in rows:
        if late["kind"] != "read" or late["outcome"] != "ok":
            continue
        for early in rows:
            if (
                early["kind"] == kind
                and early["outcome"] == "ok"
                and early["version"] is not None
                and (early["session"], early["key"]) == (late["session"], late["key"])
                and early["completed_ns"] <= late["invoked_ns"]
                and early["version"] > (late["version"] or 0)
            ):
                found.add(late["op"])
    return found


def ages(rows: list[Row]) -> dict[int, int]:
    """How stale each read is that could have been, ns."""
    acked = [r for r in rows if r["kind"] == "write" and r["outcome"] == "ok"]
    found = {}
    for read in rows:
        if read["kind"] != "read" or read["outcome"] != "ok":
            continue
        before = [
            w for w in acked if w["key"] == read["key"] and w["completed_ns"] <= read["invoked_ns"]
        ]
        if before:
            newer = [
                w["completed_ns"]
                for w in acked
                if w["key"] == read["key"] and w["version"] > (read["version"] or 0)
            ]
            found[read["op"]] = max(0, read["invoked_ns"] - min(newer, default=read["invoked_ns"]))
    return found


def anyhow(seed: int, operations: int = 60) -> Book:
    """Reads that see any version, sessions whose operations overlap: everything goes."""
    chance, book = random.Random(seed), Book()
    written = dict.fromkeys("abc"[: chance.randint(1, 3)], 0)
    at = 31.0
    for _ in range(operations):
        at += chance.random() * 0.3
        key = chance.choice(sorted(written))
        row = {
            "session": f"w0/{chance.randint(0, 2)}",
            "outcome": chance.choices(("ok", "info", "fail"), (8, 1, 1))[0],
            "population": "london",
            "done": at + chance.random(),
        }
        if chance.random() < 0.4:
            written[key] += 1
            book.write(key, written[key], at, **row)
        else:
            seen = chance.randint(0, written[key])
            book.read(key, seen or None, at, **row)
    return book


@pytest.mark.parametrize("number", range(BATCHES))
def test_sessions_and_staleness_are_what_a_loop_over_all_pairs_says(number: int) -> None:
    for seed in batch(number):
        book = anyhow(seed)
        court = Court(book)
        for name, kind in (("monotonicReads", "read"), ("readYourWrites", "write")):
            finding = court.say(name, min_samples=1)
            expected = reads_back(book.users, kind)
            assert finding.value == len(expected), (seed, name)
            if expected:
                assert finding.verdict is FAIL
        finding = court.say("staleness", quantile=1.0, lte_ms=200, phases=["fault", "recovery"])
        inside = {row["op"] for row in book.users if row["invoked_ns"] < book.ns(70)}
        expected_ages = {op: age for op, age in ages(book.users).items() if op in inside}
        assert finding.samples == len(expected_ages), seed
        if expected_ages:
            assert finding.value == pytest.approx(max(expected_ages.values()) / 1e6), seed
            assert (finding.verdict is FAIL) == (max(expected_ages.values()) > 200_000_000), seed


def linearizable(rows: list[Row]) -> bool:
    """Whether some order of the operations, none before one that had ended before it began, makes
    every read see the last write. Tries them all.
    """
    for order in itertools.permutations(rows):
        if any(
            late["completed_ns"] < early["invoked_ns"]
            for at, early in enumerate(order)
            for late in order[at + 1 :]
        ):
            continue
        value, right = 0, True
        for row in order:
            if row["kind"] == "write":
                value = row["version"]
            elif (row["version"] or 0) != value:
                right = False
                break
        if right:
            return True
    return False


@pytest.mark.parametrize("number", range(BATCHES))
def test_the_rules_of_registers_agree_with_linearizability(number: int) -> None:
    """One register whose versions rise in the order of their writes, all in one session: what no
    order explains is a stale read or one that goes back, and the other way round.
    """
    verdicts = set()
    for seed in batch(number):
        chance, book = random.Random(seed), Book()
        version, at, ends = 0, 33.0, 33.0
        for _ in range(6):
            at += chance.random()
            if chance.random() < 0.45:
                version += 1
                at = max(at, ends + 0.001)  # each begins when the one before has ended
                ends = at + 0.05 + chance.random()
                book.write("a", version, at, done=ends, population="london")
            else:
                done = at + 0.05 + chance.random()
                seen = chance.randint(max(0, version - 2), version)
                book.read("a", seen or None, at, done=done, population="london")
        court = Court(book)
        stale = court.say("staleness", quantile=1.0, lte_ms=1e-6, phases=["fault", "recovery"])
        back = court.say("monotonicReads", min_samples=1)
        accused = FAIL in (stale.verdict, back.verdict)
        assert accused != linearizable(book.users), (seed, book.users)
        verdicts.add(accused)
    assert verdicts == {True, False}
