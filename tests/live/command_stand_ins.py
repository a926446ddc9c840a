"""A `systemctl` and a `docker` for machines without their daemons: they really start, stop, freeze
and kill processes, and answer what the real ones are documented to answer, for the few words that
the process backend says. They stand in for the command lines; systemd and Docker themselves are not
in these tests.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from stormgate.system.processes import alive, pid_start_ticks


def install(folder: Path) -> Path:
    """A folder for PATH with both in it; their state is in `folder`, too."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    from stormgate.faults.backends.process.containers import STATE

    (folder / "format").write_text(STATE)
    for name in ("systemctl", "docker"):
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {folder} {name} "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return programs


def define(folder: Path, name: str, port: int, **facts: Any) -> None:
    """A unit or container that serves HTTP on a port, and is started."""
    argv = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    write(folder, name, {"name": name, "id": name * 8, "argv": argv, "port": port, **facts})
    start(folder, name)


def end_all(folder: Path) -> None:
    for path in folder.glob("*.json"):
        name = path.stem
        if runs(read(folder, name)):
            send(folder, name, signal.SIGCONT)
            send(folder, name, signal.SIGKILL)


def read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


def write(folder: Path, name: str, facts: dict[str, Any]) -> None:
    (folder / f"{name}.json").write_text(json.dumps(facts))


def runs(facts: dict[str, Any]) -> bool:
    return "pid" in facts and alive(facts["pid"], facts["ticks"])


def send(folder: Path, name: str, number: signal.Signals) -> None:
    facts = read(folder, name)
    if runs(facts):
        os.kill(facts["pid"], number)
    if number == signal.SIGKILL:
        end = time.monotonic() + 5
        while runs(facts) and time.monotonic() < end:
            time.sleep(0.01)


def start(folder: Path, name: str) -> None:
    facts = read(folder, name)
    if runs(facts):
        return
    # The child of a process that ends at once belongs to nobody: nobody's zombie, either.
    program = (
        "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True, "
    )
    program += (
        "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *facts["argv"]], capture_output=True, check=True
    )
    pid = int(done.stdout)
    facts |= {"pid": pid, "ticks": pid_start_ticks(pid), "paused": False, "at": str(time.time())}
    write(folder, name, facts)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", facts["port"]), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"{name} does not listen")


def main(folder: Path, program: str, words: list[str]) -> int:
    with (folder / "said").open("a") as said:
        said.write(f"{program} {' '.join(words)}\n")
    return (systemctl if program == "systemctl" else docker)(folder, words)


def systemctl(folder: Path, words: list[str]) -> int:
    name = words[-1].removesuffix(".service")
    if words[0] == "show" and words[1:3] == ["--property=MainPID", "--value"]:
        there = (folder / f"{name}.json").exists() and runs(read(folder, name))
        print(read(folder, name)["pid"] if there else 0)  # also of a unit that is not there
        return 0
    if words[0] == "start" and len(words) == 2:
        start(folder, name)
        return 0
    return 1


def docker(folder: Path, words: list[str]) -> int:
    everyone = {read(folder, path.stem)["id"]: path.stem for path in folder.glob("*.json")}
    everyone |= {name: name for name in everyone.values()}
    verb, rest = words[0], words[1:]
    if verb == "ps":
        return ps(folder, rest, set(everyone.values()))
    if verb == "inspect":
        assert rest[:4] == ["--type", "container", "--format", (folder / "format").read_text()], (
            rest
        )
        rest = rest[4:]
    if verb == "stop":
        assert rest[0] == "-t", rest
        rest = rest[2:]
    for word in rest:
        if word not in everyone:
            print(f"Error response from daemon: No such container: {word}", file=sys.stderr)
            return 1
        name = everyone[word]
        facts = read(folder, name)
        if verb == "inspect":
            state = [str(value).lower() for value in (runs(facts), facts["paused"])]
            removed = str(facts.get("rm", False)).lower()
            print(facts["id"], *state, facts["at"], removed)
        elif verb in ("kill", "stop"):
            send(folder, name, signal.SIGKILL)
        elif verb in ("pause", "unpause"):
            send(folder, name, signal.SIGSTOP if verb == "pause" else signal.SIGCONT)
            write(folder, name, facts | {"paused": verb == "pause"})
        elif verb == "start":
            start(folder, name)
        else:
            return 125
    return 0


def ps(folder: Path, words: list[str], names: set[str]) -> int:
    assert words[:2] == ["--all", "--no-trunc"], words
    wanted = [
        word.removeprefix("label=").rpartition(".")[2].split("=")
        for word in words
        if word.startswith("label=")
    ]
    for facts in (read(folder, name) for name in sorted(names)):
        if all(facts.get(key) == value for key, value in wanted):
            print(facts["id"], facts.get("project", ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
