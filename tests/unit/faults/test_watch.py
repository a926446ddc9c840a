"""A fault is looked at for as long as it stands; what somebody heals meanwhile is lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stormgate.evidence.write import Timeline
from stormgate.faults.backends import Observation
from stormgate.faults.ledger import Entry
from stormgate.faults.looks.watch import Stretch, Watch
from stormgate.model import Component

SECOND = 10**9
YES, NO = Observation(True, "refused"), Observation(False, "answers")


def entry(name: str = "web") -> Entry:
    part = Component(name=name, kind="service", backend="process")
    return Entry(
        id=f"{name}-part",
        instance=f"{name}-1",
        batch="b",
        fault="kill",
        component=name,
        asked="crash",
        part=part,
        mode="crash",
        record={},
    )


@pytest.mark.parametrize(
    ("looks", "lost_at_s"),
    [
        ("yyyyyyyy", None),
        ("ynynynyn", None),  # a busy machine
        ("ynnyynny", None),  # half a second is no second
        ("yynnn", 1.0),
        ("yynnnyyy", 1.0),
        ("nnn", 0.0),
    ],
)
def test_a_second_of_misses_is_a_loss_from_its_first(looks: str, lost_at_s: float | None) -> None:
    stretch, lost = Stretch(last_seen_ns=0), None
    for number, seen in enumerate(looks):
        begun = number * SECOND // 2
        if stretch.note(YES if seen == "y" else NO, begun, begun + 1000):
            lost = stretch.first_miss_ns
            break
    assert lost == (None if lost_at_s is None else lost_at_s * SECOND)
    # The looks are half a second apart, so that a third one ends the second.


class World:
    """What a look sees, and how often somebody looked."""

    def __init__(self) -> None:
        self.healed: set[str] = set()
        self.looks: dict[str, int] = {}
        self.held = threading.Event()
        self.held.set()

    def look(self, what: Entry) -> Observation:
        self.looks[what.part.name] = self.looks.get(what.part.name, 0) + 1
        self.held.wait(10)
        if "broken look" in self.healed:
            raise OSError("no route")
        return NO if what.part.name in self.healed else YES


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("stormgate.faults.looks.watch.EVERY_S", 0.01)
    monkeypatch.setattr("stormgate.faults.looks.watch.MISSED_S", 0.05)
    return World()


@pytest.fixture
def watch(tmp_path: Path, world: World) -> Iterator[Watch]:
    watch = Watch(Timeline(tmp_path), look=world.look)
    yield watch
    watch.end()


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "timeline.ndjson").read_text().splitlines()]


def until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def test_what_holds_is_looked_at_and_never_told(tmp_path: Path, world: World, watch: Watch) -> None:
    watch.begin([entry("web"), entry("db")], 0)
    until(lambda: min(world.looks.get("web", 0), world.looks.get("db", 0)) >= 10)
    watch.end(["web-part", "db-part"])
    assert rows(tmp_path) == []


def test_what_is_healed_is_told_once_with_its_moment(
    tmp_path: Path, world: World, watch: Watch
) -> None:
    watch.begin([entry("web"), entry("db")], time.monotonic_ns())
    until(lambda: world.looks.get("web", 0) >= 3)
    healed_ns = time.monotonic_ns()
    world.healed.add("web")
    until(lambda: rows(tmp_path))
    seen = world.looks["db"]
    until(lambda: world.looks["db"] >= seen + 10)  # the other one is looked at on
    (row,) = rows(tmp_path)
    assert (row["event"], row["fault"], row["component"]) == ("fault.lost", "kill", "web")
    assert (row["id"], row["part"], row["saw"]) == ("web-1", "web", "answers")
    assert row["last_seen_ns"] <= row["at_ns"]
    assert row["at_ns"] <= time.monotonic_ns()
    assert row["last_seen_ns"] <= healed_ns + SECOND


def test_a_look_that_breaks_saw_nothing(tmp_path: Path, world: World, watch: Watch) -> None:
    world.healed.add("broken look")
    watch.begin([entry()], time.monotonic_ns())
    until(lambda: rows(tmp_path))
    assert rows(tmp_path)[0]["saw"] == "OSError: no route"


def test_a_look_under_way_when_the_undo_begins_is_not_told(
    tmp_path: Path, world: World, watch: Watch
) -> None:
    watch.begin([entry()], time.monotonic_ns())
    until(lambda: world.looks.get("web", 0) >= 2)
    world.held.clear()
    seen = world.looks["web"]
    until(lambda: world.looks["web"] > seen)
    watch.end(["web-part"])
    world.healed.add("web")
    world.held.set()
    until(lambda: watch._thread is None)
    assert rows(tmp_path) == []


def test_it_begins_again_after_it_ended(tmp_path: Path, world: World, watch: Watch) -> None:
    for _ in range(3):
        watch.begin([entry()], time.monotonic_ns())
        seen = world.looks.get("web", 0)
        until(lambda seen=seen: world.looks.get("web", 0) > seen)
        watch.end(["web-part"])
    watch.begin([entry()], time.monotonic_ns())
    world.healed.add("web")
    until(lambda: rows(tmp_path))
