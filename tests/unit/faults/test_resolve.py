"""No dead end: what a person mended is closed with who said so and why, once it is seen whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.unit.faults.ledger_world import World, orphan, restoring

from stormgate.commands.restore import restore_command
from stormgate.evidence.manifest import check_manifest, write_manifest
from stormgate.faults import pointers, resolve, undo
from stormgate.faults.context import make_context
from stormgate.faults.errors import EmptySelection
from stormgate.faults.ledger import open_entries
from stormgate.faults.restore import restore


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(resolve, "_LOOK_S", 0.3)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The undo of its ledger does not undo."""
    made = World(tmp_path)
    made.ledger.intend([made.entry(part=made.component(undo="observe"))])
    orphan()
    return made


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("sealed", [False, True])
def test_mended_by_hand_it_is_closed_with_who_and_why(world: World, sealed: bool) -> None:
    if sealed:
        write_manifest(world.folder)
    assert restoring(world.folder, "--deadline", "0.5")[0] == 6
    world.flag.unlink()
    code, said = restoring(world.folder, "--resolved", "restarted the db by hand")
    assert code == 0, said
    assert "restarted the db by hand" in said
    assert open_entries(world.folder) == []
    assert pointers.pointers() == []
    place = world.folder / "restored" if sealed else world.folder
    closing = rows(place / "undo.ndjson")[-1]
    assert (closing["step"], closing["id"]) == ("undone", "1")
    assert closing["why"] == "restarted the db by hand"
    assert "@" in str(closing["by"])
    told = rows(place / "timeline.ndjson")[-1]
    assert (told["event"], told["id"]) == ("fault.cleared", "1")
    assert (told["by"], told["why"]) == (closing["by"], closing["why"])
    assert "undo" not in world.calls
    if sealed:
        assert check_manifest(world.folder) == []
        assert not (world.folder / "timeline.ndjson").exists()
    assert restoring(world.folder)[0] == 0


def test_what_is_not_seen_to_be_whole_is_not_closed_unless_forced(world: World) -> None:
    report = resolve.resolve(world.folder, "I think it is fine")
    assert not report.clean
    assert "not seen to be whole" in report.problems[0]
    assert len(open_entries(world.folder)) == 1
    assert resolve.resolve(world.folder, "db was scrapped", unseen=True).clean
    closing = rows(world.path)[-1]
    assert "not seen to be whole" in str(closing["saw"])
    assert closing["why"] == "db was scrapped"


def test_the_targets_present_commands_undo_it(world: World) -> None:
    assert not restore(world.folder, 0.5).clean
    mended = replace(world.target, components=(world.component(undo="undo"),))
    report = restore(world.folder, 10, present=mended)
    assert report.clean, report
    assert not world.flag.exists()
    assert open_entries(world.folder) == []


def test_a_component_that_the_target_no_longer_has_is_named(world: World) -> None:
    report = restore(world.folder, 1, present=replace(world.target, components=()))
    assert report.problems == ("target 't' has no component 'db' any more",)


def test_the_target_option_reads_a_document(world: World, tmp_path: Path) -> None:
    import yaml

    part = world.component(undo="undo")
    document = {
        "apiVersion": "stormgate.dev/v1",
        "kind": "Target",
        "metadata": {"name": "t"},
        "spec": {
            "environment": "laboratory",
            "allow": ["127.0.0.1/32"],
            "regions": [{"name": "r", "latitude": 0, "longitude": 0}],
            "populations": [
                {
                    "name": "p",
                    "share": 1.0,
                    "latitude": 0,
                    "longitude": 0,
                    "edges": ["e"],
                    "links": {"e": "http://127.0.0.1:9"},
                }
            ],
            "components": [
                {"name": "db", "kind": "database", "backend": "command", "handle": part.handle},
                {
                    "name": "e",
                    "kind": "edge",
                    "backend": "command",
                    "handle": part.handle,
                    "region": "r",
                },
            ],
        },
    }
    file = tmp_path / "target.yaml"
    file.write_text(yaml.safe_dump(document))
    code, said = restoring(world.folder, "--target", file, "--deadline", "10")
    assert code == 0, said
    assert "undo" in world.calls


@pytest.mark.parametrize("arguments", [["--resolved", " "], ["--resolved", "x"], ["--trust"]])
def test_what_needs_a_folder_or_a_reason_says_so(world: World, arguments: list[str]) -> None:
    import click

    with pytest.raises((click.UsageError, AssertionError), match=r"name its FOLDER|say what"):
        restoring(*arguments)


def test_what_is_stuck_is_told_within_seconds_and_the_rest_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two undos hangs for the whole deadline; that is said long before."""
    monkeypatch.setattr(undo, "TELL_S", 0.3)
    world = World(tmp_path)
    hanging = world.component()
    hangs = {"slow": ["sh", "-c", "sleep 120"]}
    hanging = replace(hanging, name="stuck", handle={**hanging.handle, "undo": hangs})
    world.ledger.intend([world.entry("2", part=hanging, component="stuck"), world.entry("1")])
    told: list[str] = []
    report = restore(world.folder, 6, say=told.append)
    assert [problem for problem in report.problems if "stuck (slow)" in problem]
    assert [text for text in told if "still not undone: stuck (slow)" in text]
    events = [(row["event"], row["id"]) for row in rows(world.folder / "timeline.ndjson")]
    pending, failed = ("fault.undo_pending", "2"), ("fault.undo_failed", "2")
    assert events.index(pending) < events.index(failed), "told while it was still tried"
    assert ("fault.cleared", "1") in events


def test_nothing_is_told_of_what_is_undone_in_time(world: World) -> None:
    mended = replace(world.target, components=(world.component(undo="undo"),))
    told: list[str] = []
    assert restore(world.folder, 10, present=mended, say=told.append).clean
    assert told == []


# -- the action


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A trial that broke `db`, and `x` as a part of `zone`; another trial broke `y`."""
    from stormgate.chaos import actions

    made = World(tmp_path)
    parts = {name: replace(made.component(), name=name) for name in ("db", "x", "y", "spare")}
    made.target = replace(made.target, components=tuple(parts.values()))
    made.ledger.intend(
        [
            made.entry("1", part=parts["db"], component="db"),
            made.entry("2", part=parts["x"], component="zone"),
            made.entry("3", part=parts["y"], component="y", fault="another"),
        ]
    )
    context = make_context(made.target, made.folder, fault="f", seed=1)
    monkeypatch.setattr(actions, "current", lambda: context)
    return made


def test_one_component_is_undone_in_the_middle_and_the_rest_at_the_end(two: World) -> None:
    from stormgate.chaos.actions import undo as undo_action

    assert undo_action("db") == ["db (slow)"]
    assert [entry.id for entry in open_entries(two.folder)] == ["2", "3"]
    assert undo_action(["db"]) == [], "idempotent"
    assert undo_action({"kind": "database", "name": "db"}) == []
    assert undo_action("zone") == ["zone (slow)"]
    assert [entry.id for entry in open_entries(two.folder)] == ["3"], "another trial's"
    assert undo_action() == []


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ("spare", "never broke 'spare'"),
        ("y", "never broke 'y'"),
        ("x", "broken as part of zone: undo that"),
        ("nowhere", "nowhere"),
        ([], "nothing is selected"),
    ],
)
def test_what_was_never_broken_cannot_be_undone(two: World, selection: object, says: str) -> None:
    from stormgate.chaos.actions import undo as undo_action

    with pytest.raises(EmptySelection, match=says):
        undo_action(selection)  # type: ignore[arg-type]
    assert len(open_entries(two.folder)) == 3


def test_of_what_a_run_broke_one_component_or_one_fault_is_undone(tmp_path: Path) -> None:
    world = World(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    elsewhere = World(other)
    second = replace(elsewhere.component(), name="cache")
    world.ledger = type(world.ledger)(
        world.folder, replace(world.target, components=(world.component(), second))
    )
    world.ledger.intend(
        [
            world.entry(),
            world.entry("2", part=second, component="eu-west", fault="g"),
        ]
    )
    orphan()
    code, said = restoring(world.folder, "--component", "nobody")
    assert code == 6
    assert "nothing is open of nobody" in said
    assert (world.calls, elsewhere.calls) == ([], [])

    code, said = restoring(world.folder, "--component", "eu-west", "--fault", "g")
    assert code == 6, said
    assert "undone: eu-west (slow)" in said
    assert "still open: db (slow) of fault f" in said
    assert [entry.part.name for entry in open_entries(world.folder)] == ["db"]
    assert world.flag.exists()
    assert pointers.pointers() != []

    code, said = restoring(world.folder, "--fault", "f")
    assert code == 0, said
    assert not world.flag.exists()
    assert pointers.pointers() == []


def test_a_choice_is_for_undoing_alone(world: World) -> None:
    argv = [str(world.folder), "--component", "db", "--resolved", "by hand"]
    done = CliRunner().invoke(restore_command, argv)
    assert isinstance(done.exception, click.UsageError | SystemExit)
    assert len(open_entries(world.folder)) == 1
