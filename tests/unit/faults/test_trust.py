"""A ledger holds commands: only this user's own, from this machine and whole, is played unasked."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.faults.ledger_world import World, orphan, restoring

from stormgate.faults import pointers, trust
from stormgate.faults.admit import admitted
from stormgate.faults.errors import NoTarget
from stormgate.faults.ledger import doubt, open_entries
from stormgate.faults.state import state_dir
from stormgate.model import Observe, to_json


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.ledger.intend([made.entry()])
    orphan()
    return made


def another_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One with a state folder, and a key, of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    state_dir()
    trust.sealed({}, "")


def test_ones_own_is_played(world: World) -> None:
    assert doubt(world.folder) is None
    assert restoring(world.folder)[0] == 0
    assert "undo" in world.calls
    assert doubt(world.folder) is None


def test_the_key_is_for_this_user_alone() -> None:
    trust.sealed({}, "")
    key = state_dir() / "ledger.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o640)
    with pytest.raises(OSError, match="this user alone"):
        trust.sealed({}, "")
    assert "this user alone" in str(trust.doubt([{}]))


def test_a_strangers_is_shown_and_not_run_until_trusted(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_user(monkeypatch, tmp_path)
    code, said = restoring(world.folder)
    assert code == 6
    assert world.calls == [], "nothing of it was run, not even to look"
    assert "would run or contact: db (slow), command: undo:" in said
    assert f"{world.script} {world.flag} undo" in said
    assert "--trust" in said
    code, said = restoring(world.folder, "--resolved", "mended")
    assert (code, world.calls) == (6, [])
    code, said = restoring(world.folder, "--trust")
    assert code == 0, said
    assert said.index("would run or contact") < said.index("undone: db (slow)")
    assert not world.flag.exists()


def test_a_stranger_who_says_that_nothing_is_open_is_not_believed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ledger.undone(world.entry(), "seen")
    another_user(monkeypatch, tmp_path)
    assert restoring(world.folder)[0] == 6
    assert restoring(world.folder, "--trust")[0] == 0


@pytest.mark.parametrize("who", ["another machine", "another user"])
def test_the_digest_is_of_user_and_machine(
    world: World, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    if who == "another user":
        monkeypatch.setattr(trust.os, "getuid", lambda: 12345)
        monkeypatch.setattr(trust, "_read_key", lambda path: path.read_bytes())
    else:
        monkeypatch.setattr(trust, "_machine", lambda: "another")
    assert "row 1 was not written by this user on this machine" in str(doubt(world.folder))


SPOILS = st.one_of(
    st.tuples(st.just("drop"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("swap"), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("again"), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("change"), st.integers(0, 9), st.integers(0, 3)),
)


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(spoil=SPOILS)
def test_no_row_is_taken_out_moved_repeated_or_changed_unseen(spoil: tuple[str, int, int]) -> None:
    how, one, two = spoil
    rows, before = [], ""
    for number in range(5):
        rows.append(trust.sealed({"step": "intent", "id": str(number), "n": 1.5}, before))
        before = rows[-1]["mac"]
    honest = [dict(row) for row in rows]
    one, two = one % 5, two % 5
    if how == "drop":
        del rows[one]
    elif how == "swap":
        rows[one], rows[two] = rows[two], rows[one]
    elif how == "again":
        rows.insert(two, rows[one])
    else:
        rows[one] = {**rows[one], ("step", "id", "n", "mac")[two]: "x"}
    # The last row has nobody after it; that one was cut off is what the pointer tells.
    cut = how == "drop" and one == 4
    assert (trust.doubt(rows) is None) == (rows == honest or cut)


@pytest.mark.parametrize("spoil", ["undone by hand", "other command"])
def test_ones_own_that_somebody_changed_is_dirty_and_its_pointer_stays(
    world: World, spoil: str
) -> None:
    if spoil == "undone by hand":
        with world.path.open("a") as file:
            file.write('{"step":"undone","id":"1","saw":"trust me"}\n')
    else:
        world.path.write_text(world.path.read_text().replace('"undo"]', '"evil"]'))
    for arguments in ((), (world.folder,)):
        code, said = restoring(*arguments)
        assert code == 6, said
        assert "not written by this user" in said
    assert world.calls == []
    assert len(pointers.pointers()) == 1
    assert restoring(world.folder, "--trust", "--deadline", "0.5")[0] in (0, 6)


LOOK = Observe(protocol="tcp", address="127.0.0.2:9")


@pytest.mark.parametrize("place", ["status", "component", "entry", "record"])
@pytest.mark.parametrize("own", [True, False])
def test_nobody_outside_allow_is_asked(tmp_path: Path, place: str, own: bool) -> None:
    world = World(tmp_path, allow=("127.0.0.1/32",))
    entry, target = world.entry(), world.target
    pointers.remember(target)
    if not own:
        target = replace(target, allow=("0.0.0.0/0",))
    if place == "status":
        target = replace(target, status_url="http://127.0.0.2:9/status")
    elif place == "component":
        target = replace(target, components=(world.component(observe=LOOK),))
    elif place == "entry":
        entry = replace(entry, part=world.component(observe=LOOK))
    else:
        entry = replace(entry, record={"deep": [{"address": "127.0.0.2:9"}]})
    with pytest.raises(NoTarget, match=r"does not allow 127\.0\.0\.2"):
        admitted([entry], target, own=own, present=None)


def test_of_an_unknown_target_only_this_machine_is_asked(tmp_path: Path) -> None:
    world = World(tmp_path, allow=("0.0.0.0/0",), status_url="http://192.0.2.1/status")
    with pytest.raises(NoTarget, match=r"192\.0\.2\.1 .*--target TARGET"):
        admitted([world.entry()], world.target, own=False, present=None)
    near = replace(world.target, status_url="http://127.0.0.1:9/status")
    _, target = admitted([world.entry()], near, own=False, present=None)
    assert "0.0.0.0/0" not in target.allow


def test_a_reference_is_filled_in_before_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, allow=("127.0.0.1/32",), status_url="http://${WHERE_TO}:9/")
    monkeypatch.setenv("WHERE_TO", "127.0.0.2")
    with pytest.raises(NoTarget, match=r"127\.0\.0\.2"):
        admitted([world.entry()], world.target, own=True, present=None)
    monkeypatch.delenv("WHERE_TO")
    with pytest.raises(NoTarget, match="is not set"):
        admitted([world.entry()], world.target, own=True, present=None)


# -- hostile folders

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null\n",
        "[]\n",
        DEEP,
        DEEP + "\n",
        f'{{"step":"intent","id":"1","entry":{DEEP}\n',
        '{"step":"intent","id":"1"}\n',
        '{"step":"intent","id":1,"entry":null}\n',
        '{"step":"intent","id":"1","entry":{"part":{}}}\n',
        '{"step":"intent","id":"1","entry":[1]}\n',
        '{"step":["intent"],"id":{"a":1},"entry":3}\n',
        '{"step":"target","target":null}\n{"step":"undone","id":null}\n',
        '{"step":"target","target":{"name":5}}\n',
        '{"step":"target","target":{"name":"t"},"mac":7}\n',
        '{"step":"intent","id":"\\ud800","entry":{}}\n',
        '{"step":"applied","id":NaN}\n',
        "9" * 10_000 + "\n",
        "\0" * 5_000_000,
        "x" * 20_000_000,
    ],
    ids=range(19),
)
@pytest.mark.parametrize("file", ["undo.ndjson", "timeline.ndjson"])
def test_a_hostile_file_is_a_reason_and_never_a_traceback(
    tmp_path: Path, text: str, file: str
) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / file).write_text(text)
    for arguments in ((folder,), (folder, "--trust"), (folder, "--trust", "--resolved", "x")):
        code, said = restoring(*arguments)
        assert code in (0, 6)
        assert str(folder) in said


@pytest.mark.parametrize("kind", ["pipe", "folder", "zero", "sparse", "loop", "dangling"])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    path = folder / "undo.ndjson"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
        (folder / "plan.json").write_text("{}")
    code, said = restoring(folder)
    assert code == 6, said
    assert "undo.ndjson" in said or "no run was written" in said


def test_no_control_character_of_a_ledger_reaches_the_terminal(tmp_path: Path) -> None:
    world = World(tmp_path)
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\r\n"
    part = replace(world.component(), name=f"db{evil}")
    world.ledger.intend([world.entry(part=part, component=evil, asked=evil)])
    with world.path.open("a") as file:
        file.write(json.dumps({"step": "note", "entry": to_json(part)}) + "\n")
    orphan()
    code, said = restoring(world.folder)
    assert code == 6
    assert open_entries(world.folder)
    for arguments in (("--trust",), ("--trust", "--resolved", f"done {evil}")):
        said += restoring(world.folder, *arguments)[1]
    assert "db" in said
    assert not set("\x1b\x07\r\u202e") & set(said)
