"""The lab where things go wrong: taken ports, dying servers, broken caches, no room, an end in the
middle of a start.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stormgate.documents import load_target
from stormgate.lab.design.layout import Layout
from stormgate.lab.design.plan import plan
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.errors import LabError, PortTakenError
from stormgate.lab.native import postgres, template
from stormgate.lab.runtime import folders
from stormgate.lab.runtime.boot import Lab
from stormgate.lab.runtime.daemon import Daemon
from stormgate.lab.runtime.launch import daemon_argv, launch, prepare
from stormgate.model import Target, to_json
from stormgate.system import processes

pytestmark = pytest.mark.live

LAB = Path(__file__).parents[2] / "targets" / "lab.yaml"


@pytest.fixture(scope="module")
def target() -> Target:
    return load_target(LAB)


@pytest.fixture(scope="module")
def layout(target: Target) -> Layout:
    return plan(target)


@pytest.fixture
def work() -> Iterator[Path]:
    path = folders.make_work_dir(os.environ)
    yield path
    shutil.rmtree(path)


def state_folder(path: Path) -> Path:
    for name in ("pids", "logs"):
        (path / name).mkdir(parents=True)
    return path


def nothing_runs(work: Path) -> bool:
    rows = [json.loads(line) for line in (work / "processes.ndjson").read_text().splitlines()]
    assert rows
    return not [row["name"] for row in rows if processes.alive(row["pid"], row["start_ticks"])]


def test_a_taken_port_is_told_apart_and_leaves_nothing(
    layout: Layout, work: Path, tmp_path: Path
) -> None:
    lab = Lab(layout, LabSettings(), work, state_folder(tmp_path), os.environ)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", lab.wiring.ports["eu-west/db-eu"]))
        taken.listen()
        with pytest.raises(PortTakenError, match=r"eu-west/db-eu ended with 1 as it started"):
            lab.up(lambda _: None)
        lab.stop()
    assert nothing_runs(work)


def test_another_attempt_on_other_ports_has_its_folders(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an attempt leaves is removed, and the next one writes into the same places."""
    ups = []

    def up(lab: Lab, _say: object) -> None:
        ups.append(lab)
        (tmp_path / "pids" / "eu-west.edge").write_text("1")
        (tmp_path / "logs" / "eu-west.edge.log").touch()
        if len(ups) == 1:
            raise PortTakenError("eu-west/edge ended with 1 as it started")

    monkeypatch.setattr(Lab, "up", up)
    (tmp_path / "target.json").write_text(json.dumps(to_json(target)))
    daemon = Daemon(tmp_path, None, os.environ)
    try:
        asyncio.run(daemon._boot())
        assert len(ups) == 2
        assert daemon.lab is ups[1]
    finally:
        daemon._clean()
    assert not (tmp_path / "pids").exists()


def test_a_server_that_dies_as_it_starts_gives_its_last_line(
    layout: Layout, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = folders.find_binaries(work)
    monkeypatch.setattr(folders, "find_binaries", lambda _: replace(found, valkey=Path("/bin/cat")))
    lab = Lab(layout, LabSettings(), work, state_folder(tmp_path), os.environ)
    with pytest.raises(LabError, match=r"/cache ended with 1 as it started: .*--help") as raised:
        lab.up(lambda _: None)
    lab.stop()
    assert "\n" not in str(raised.value)
    assert nothing_runs(work)


def test_no_room_is_said_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "WORK_BYTES", 1 << 60)
    with pytest.raises(
        LabError, match=r"no room for the lab's databases: /dev/shm has \d+ MiB free"
    ):
        folders.make_work_dir(os.environ)


def test_a_broken_template_is_made_again(layout: Layout, work: Path, tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    binaries = folders.find_binaries(work)
    made = template.ensure(layout, binaries, work, env)
    home = made["eu"].parent
    assert home == tmp_path / "stormgate" / "lab" / home.name
    assert template.ensure(layout, binaries, work, env) == made
    written_ns = (home / "whole.json").stat().st_mtime_ns
    (made["eu"] / "global" / "pg_control").write_bytes(b"torn")
    assert not template.is_whole(home)
    template.ensure(layout, binaries, work, env)
    assert template.is_whole(home)
    assert (home / "whole.json").stat().st_mtime_ns > written_ns


def test_a_cache_that_cannot_be_written_is_done_without(
    layout: Layout, work: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for env in ({}, {"HOME": ""}, {"HOME": str(blocked)}, {"XDG_CACHE_HOME": "relative"}):
        assert folders.cache_dir(env) is None
    made = template.ensure(layout, folders.find_binaries(work), work, {})
    assert all(
        path.is_relative_to(work) and (path / "PG_VERSION").exists() for path in made.values()
    )


def test_staged_servers_run_for_who_cannot_reach_the_installed_ones(
    layout: Layout, work: Path
) -> None:
    found = folders.find_binaries(work)
    staged = folders._stage(found.postgres, found.valkey, work / "servers", found.user or "")
    staged = replace(staged, user=found.user)
    postgres.run_tool([staged.tool("pg_rewind"), "--version"], staged.user)
    postgres.run_tool([staged.valkey, "--version"], staged.user)
    assert set(template.ensure(layout, staged, work, {})) == {"us", "eu"}


@pytest.mark.parametrize("after_s", [0.1, 0.54, 0.8, 1.6])
def test_an_end_in_the_middle_of_a_start_leaves_nothing(
    target: Target, tmp_path: Path, after_s: float
) -> None:
    prepare(target, tmp_path, os.environ, lambda _: None)
    before = set(Path("/dev/shm").glob("stormgate-lab-*"))
    daemon = processes.spawn(
        daemon_argv(tmp_path, None), log_path=tmp_path / "daemon.log", new_session=True
    )
    time.sleep(after_s)
    ours = {
        path for path in Path("/dev/shm").glob("stormgate-lab-*") if _owner(path) == daemon.pid
    } - before
    daemon.send_signal(signal.SIGTERM)
    # Before it listens for signals, SIGTERM simply ends it.
    assert daemon.wait(30.0) in {0, -signal.SIGTERM}
    assert not [path for path in ours if path.exists()]
    assert not (tmp_path / "daemon.json").exists()


def _owner(work: Path) -> int | None:
    try:
        return int(json.loads((work / "owner.json").read_text())["pid"])
    except (OSError, ValueError):
        return None


def test_what_an_abandoned_lab_left_is_swept(tmp_path: Path) -> None:
    old = tmp_path / "stormgate-lab-old"
    old.mkdir()
    (old / "owner.json").write_text(json.dumps({"pid": os.getpid(), "start_ticks": 1}))
    living = tmp_path / "stormgate-lab-living"
    living.mkdir()
    (living / "owner.json").write_text(
        json.dumps({"pid": os.getpid(), "start_ticks": processes.pid_start_ticks(os.getpid())})
    )
    strange = tmp_path / "stormgate-lab-strange"
    strange.mkdir()
    assert old in folders.sweep_abandoned({"TMPDIR": str(tmp_path)})
    assert (old.exists(), living.exists(), strange.exists()) == (False, True, True)


def test_a_second_lab_in_the_same_folder_is_refused(target: Target, tmp_path: Path) -> None:
    me = {"pid": os.getpid(), "start_ticks": processes.pid_start_ticks(os.getpid())}
    (tmp_path / "daemon.json").write_text(json.dumps(me))
    with pytest.raises(LabError, match="a lab runs in"):
        launch(target, state=tmp_path)
