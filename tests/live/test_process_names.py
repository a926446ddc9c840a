"""Each way to name a process: it is found, really broken, proven, and brought back by what follows
from its name. systemd and Docker are stood in for (command_stand_ins.py): their daemons are not on
every machine that runs these tests.
"""

import os
import re
import subprocess
import sys
import time

import pytest
from tests.live import command_stand_ins as stand_ins
from tests.live.chaos_fixture import free_port

from stormgate.faults.backends.process import read_pid_file
from stormgate.faults.backends.process.naming import find
from stormgate.faults.context import make_context
from stormgate.faults.errors import CannotBreak, NotWhole
from stormgate.faults.inject import inject
from stormgate.faults.ledger import open_entries
from stormgate.faults.undo import undo_all
from stormgate.model import Component, Observe, Target
from stormgate.net.look import look

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machine")
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{stand_ins.install(folder)}{os.pathsep}{path}"
    ports = {name: free_port() for name in ("web", "api1", "api2", "other")}
    stand_ins.define(folder, "web", ports["web"])
    for name in ("api1", "api2"):
        stand_ins.define(folder, name, ports[name], service="api", project="shop")
    try:
        yield folder, ports
    finally:
        stand_ins.end_all(folder)
        os.environ["PATH"] = path


@pytest.fixture
def trial(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    (tmp_path / "run").mkdir()
    _, ports = machine

    def make(handle, name="web"):
        observe = Observe(protocol="http", address=f"127.0.0.1:{ports[name]}", path="/")
        part = Component(name=name, kind="service", backend="process", handle=handle,
                         observe=observe)  # fmt: skip
        target = Target(name="t", components=(part,))
        return make_context(target, tmp_path / "run", fault="f", seed=1), part

    return make


def named(machine, how: str) -> dict:
    """The handle of the service `web`, or of `api`, by one of the ways."""
    folder, ports = machine
    start = [sys.executable, stand_ins.__file__, str(folder), "systemctl", "start", "web"]
    facts = stand_ins.read(folder, "web")
    if how == "pidFile":
        (folder / "web.pid").write_text(f"{facts['pid']}\n/var/lib/web\n")
        # Whoever brings it back writes its new number.
        number = 's/.*"pid": \\([0-9]*\\).*/\\1/p'
        again = f"\"$@\" && sed -n '{number}' {folder}/web.json > {folder}/web.pid"
        return {"pid_file": str(folder / "web.pid"), "start": ["sh", "-c", again, "sh", *start]}
    if how == "match":
        return {"match": rf"http\.server .* {ports['web']}$", "start": start}
    return {"systemd": {"systemd": "web.service"}, "docker": {"docker": "web"},
            "compose": {"compose": "api"}}[how]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "mode"),
    [
        ("pidFile", "crash"),
        ("match", "crash"),
        ("systemd", "crash"),
        ("systemd", "freeze"),
        ("docker", "crash"),
        ("docker", "freeze"),
        ("docker", "stop"),
        ("compose", "crash"),
    ],
)
def test_named_broken_proven_and_brought_back(machine, trial, how, mode):
    context, part = trial(named(machine, how), "api1" if how == "compose" else "web")
    parts = [part.observe]
    if how == "compose":
        address = f"127.0.0.1:{machine[1]['api2']}"
        parts.append(Observe(protocol="http", address=address, path="/"))
    assert all(look(one, 3).healthy for one in parts)
    inject(context, [part], mode, proof_s=20)
    assert not any(look(one, 0.5).healthy for one in parts)
    undo_all(context)
    assert open_entries(context.folder) == []
    assert all(look(one, 3).healthy for one in parts)


def test_a_container_that_was_started_again_is_not_the_one_that_was_killed(machine, trial):
    (machine[0] / "said").write_text("")
    context, part = trial({"docker": "web"})
    inject(context, [part], "crash", proof_s=20)
    (entry,) = open_entries(context.folder)
    stand_ins.start(machine[0], "web")  # as its restart policy would
    from stormgate.faults import backends

    seen = backends.get("process").in_effect(part, entry.record)
    assert not seen.seen
    assert "was started again" in seen.saw
    undo_all(context)
    assert open_entries(context.folder) == []
    # What is said to the real command line, word by word.
    said = (machine[0] / "said").read_text().splitlines()
    assert said[0].startswith("docker inspect --type container --format {{.Id}} ")
    assert f"docker kill {'web' * 8}" in said


@pytest.mark.parametrize(
    ("handle", "error", "says"),
    [
        ({"docker": "wbe"}, NotWhole, "No such container: wbe"),
        ({"compose": "ap"}, NotWhole, "no container of compose service ap"),
        ({"compose": "api", "project": "other"}, NotWhole, "no container of compose service api"),
        ({"systemd": "nothing.service"}, NotWhole, "no running process of nothing.service"),
        ({"match": "no such words", "start": ["true"]}, NotWhole, "no running process matches"),
        ({"match": r"http\.server", "start": ["true"]}, NotWhole, "3 processes match"),
        ({"docker": "rm"}, CannotBreak, "was run with --rm"),
        ({"compose": "twice"}, NotWhole, "in projects a, b: say which"),
    ],
)
def test_what_cannot_be_told_is_not_broken(machine, trial, handle, error, says):
    folder, _ = machine
    web = stand_ins.read(folder, "web")
    stand_ins.write(folder, "rm", web | {"name": "rm", "id": "rm" * 8, "rm": True})
    for name in ("a", "b"):
        facts = web | {"name": name, "id": name * 8, "service": "twice", "project": name}
        stand_ins.write(folder, name, facts)
    try:
        context, part = trial(handle)
        with pytest.raises(error, match=says):
            inject(context, [part], "crash")
        assert look(part.observe, 3).healthy
        assert open_entries(context.folder) == []
    finally:
        for name in ("rm", "a", "b"):
            (folder / f"{name}.json").unlink()


def test_a_reused_number_is_not_the_process_of_the_file(machine, tmp_path):
    facts = stand_ins.read(machine[0], "web")
    file = tmp_path / "old.pid"
    file.write_text(str(facts["pid"]))
    assert read_pid_file(file) == (facts["pid"], facts["ticks"])
    hour_ago = time.time() - 3600
    os.utime(file, (hour_ago, hour_ago))
    assert read_pid_file(file) is None
    _, why = find({"pid_file": str(file)})
    assert re.search(r"began after .* was written: another one has its number", why)


def test_a_tree_of_the_same_words_is_one_process(tmp_path):
    words = f"stormgate-tree-{os.getpid()}"
    program = "import subprocess, sys, time\nif len(sys.argv) < 3:\n"
    program += "    subprocess.Popen([sys.executable, *sys.orig_argv[1:], 'child'])\ntime.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", program, words], start_new_session=True)
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end and find({"match": f"{words} child"})[0] is None:
            time.sleep(0.02)
        found, why = find({"match": words})
        assert found is not None, why
        assert found[0] == parent.pid
    finally:
        os.killpg(parent.pid, 9)
        parent.wait()
