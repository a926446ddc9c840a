"""Faults by hand as a person types them, on a target of one's own: proven, bounded, taken back
whatever dies.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.live.hands_world import HandsWorld

from stormgate.evidence.read import read_ndjson
from stormgate.system.processes import alive

pytestmark = pytest.mark.live


@pytest.fixture
def world(tmp_path: Path) -> Iterator[HandsWorld]:
    made = HandsWorld(tmp_path, "a", "b")
    yield made
    made.stormgate("halt")
    assert not made.broken("a"), "a test left its world broken"


def until(true: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)


def keeper(world: HandsWorld) -> dict[str, int]:
    path = next((world.folder / "state/stormgate/hands").glob("*.json"))
    owner = json.loads(path.read_bytes())["owner"]
    return {"pid": owner["pid"], "start_ticks": owner["start_ticks"]}


def folder(world: HandsWorld) -> Path:
    return next(world.reports.glob("*-by-hand-*"))


def test_it_stands_without_its_console_and_ends_by_itself(world: HandsWorld) -> None:
    done = world.inject("dim", "a", "--for", "3s", "--level", "2", "--by", "Ana")
    assert done.returncode == 0, done.stderr
    assert "hand-1: dim a, seen after" in done.stdout
    assert "PARAM_LEVEL=2" in world.flag("a").read_text()
    listed = world.stormgate("faults", "--json")
    one = json.loads(listed.stdout)
    assert (one["component"], one["mode"], one["by"], one["kept"]) == ("a", "dim", "Ana", True)
    assert one["proof"]
    assert 0 <= one["age_s"] < 60
    until(lambda: not world.broken("a"), "taken back when its time was over")
    # With nothing left to keep the keeper ends, and its folder is judged for what it is.
    until((folder(world) / "manifest.json").exists, "the folder is sealed")
    rows, _ = read_ndjson(folder(world) / "timeline.ndjson")
    events = [row["event"] for row in rows]
    order = ["fault.requested", "fault.observed", "chaos.rollback", "fault.cleared", "run.end"]
    assert [event for event in events if event in order] == order
    judged = world.stormgate("judge", str(folder(world)), "--no-write")
    assert judged.returncode == 3, "nobody measured, so nothing is green"
    assert "no objective" in judged.stdout
    assert world.standing() == []


def test_a_keeper_that_is_killed_leaves_nothing_broken(world: HandsWorld) -> None:
    assert world.inject("dim", "a", "--for", "10m").returncode == 0
    owner = keeper(world)
    os.kill(owner["pid"], signal.SIGKILL)
    until(lambda: not world.broken("a"), "its guard took it back")
    assert not alive(**owner)
    until(lambda: not world.standing(), "the ledger is closed")


def test_undo_takes_back_one_and_says_when_it_cannot(world: HandsWorld) -> None:
    assert world.inject("dim", "a").returncode == 0
    assert world.inject("dim", "b", "--name", "second").returncode == 0
    assert world.stormgate("undo", "third").returncode == 2
    stuck = world.flag("b").with_suffix(".stuck")
    stuck.touch()
    asked = subprocess.Popen(
        [sys.executable, "-m", "stormgate.cli", "undo", "second"],
        cwd=world.folder,
        env=world.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert asked.stderr is not None
    with asked.stderr:
        assert "still not undone: b (dim), after 3 s" in asked.stderr.readline()
        assert world.broken("a"), "the other was not asked for"
        stuck.unlink()
        assert asked.wait(30) == 0
    assert not world.broken("b")
    assert world.standing() == ["hand-1"]
    assert world.stormgate("undo").returncode == 0
    assert not world.broken("a")


def test_halt_takes_back_all_and_refuses_everybody_until_resume(world: HandsWorld) -> None:
    assert world.inject("dim", "a").returncode == 0
    experiment = world.folder / "e.json"
    act = {"type": "python", "module": "stormgate.chaos.actions"}
    activities = [("break_component", {"component": "b", "mode": "dim"}), ("hold", {"seconds": 60})]
    method = [
        {"type": "action", "name": f"{n} {func}", "provider": {**act, "func": func, "arguments": a}}
        for n, (func, a) in enumerate(activities)
    ]
    experiment.write_text(json.dumps({"title": "t", "description": "d", "method": method}))
    run = world.folder / "run"
    run.mkdir()
    trial = subprocess.Popen(
        [sys.executable, "-m", "stormgate.chaos.run", str(experiment), "--fault", "trial"],
        cwd=world.folder,
        env={**world.environment, "STORMGATE_EVIDENCE": str(run)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: len(world.standing()) == 2, "both stand")
        undone = world.stormgate("undo", "all")
        assert undone.returncode == 6, "a run that lives takes back its own"
        assert not world.broken("a")
        assert world.broken("b")
        halted = world.stormgate("halt", "--by", "Ben", "--reason", "the pager went off")
        assert halted.returncode == 0, halted.stderr
        assert not world.broken("b")
        assert trial.wait(30) == 5, "its run was stopped"
    finally:
        trial.kill()
    refused = world.inject("dim", "a")
    assert (refused.returncode, world.broken("a")) == (2, False)
    assert "halted by Ben" in refused.stderr
    assert "the pager went off" in refused.stderr
    # Also of whoever never asked: the intent itself is refused, where every injection writes it.
    experiment.write_text(json.dumps({"title": "t", "description": "d", "method": method[:1]}))
    done = subprocess.run(
        [sys.executable, "-m", "stormgate.chaos.run", str(experiment), "--fault", "late"],
        cwd=world.folder,
        env={**world.environment, "STORMGATE_EVIDENCE": str(run)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Halted" in done.stderr
    assert not world.broken("b")
    assert world.stormgate("resume", "--reason", " ").returncode == 2
    assert world.stormgate("resume", "--reason", "it was the other pager").returncode == 0
    assert world.inject("dim", "a", "--for", "1s").returncode == 0
    until(lambda: not world.broken("a"), "its time was over")


def test_production_wants_what_a_gate_wants(tmp_path: Path) -> None:
    world = HandsWorld(tmp_path, "a", environment="production")
    refused = world.inject("dim", "a", "--for", "5s")
    assert refused.returncode == 2
    assert "--allow-production" in refused.stderr
    refused = world.inject("dim", "a", "--for", "5s", "--allow-production")
    assert refused.returncode == 2
    assert "without an abort rule" in refused.stderr
    assert not world.broken("a")
