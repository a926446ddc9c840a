"""Building and tearing down the small world of chaos_world.py, and running experiments in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.chaos_world import HOST, free_port

from stormgate.faults.backends.process import read_pid_file
from stormgate.faults.context import Context, make_context
from stormgate.model import Component, Observe, Population, Region, Steering, Target, to_json
from stormgate.system import processes
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.server import RunningServer, ServerChoice, find_server, launch

SCRIPT = Path(__file__).with_name("chaos_world.py")
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class World:
    state: Path
    target: Target
    proxies: RunningServer
    ports: dict[str, int]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def client(self) -> Client:
        return self.proxies.client()

    def context(self, fault: str = "trial") -> Context:
        return make_context(self.target, self.folder, fault=fault, seed=7)

    def pid(self, name: str) -> tuple[int, int]:
        found = read_pid_file(self.state / f"{name.replace('/', '.')}.pid")
        assert found is not None
        return found

    def child(self, name: str) -> int:
        return int(json.loads((self.state / f"{name.replace('/', '.')}.pid").read_bytes())["child"])

    def roles(self, **roles: str) -> None:
        (self.state / "roles.json").write_text(
            json.dumps({name.replace("__", "/"): role for name, role in roles.items()})
        )

    def chaos(
        self, experiment: Path, *more: str, fault: str = "trial", **spawn: Any
    ) -> subprocess.Popen[bytes]:
        argv = [
            sys.executable,
            "-m",
            "stormgate.chaos.run",
            str(experiment),
            "--fault",
            fault,
            *more,
        ]
        log = open(self.folder / "chaos.log", "ab")  # noqa: SIM115
        with log:
            return subprocess.Popen(
                argv, env=self.environment, cwd=self.folder, stdout=log, stderr=log, **spawn
            )

    def log(self) -> str:
        return (self.folder / "chaos.log").read_text()

    def journal(self, fault: str = "trial") -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.folder / "journals" / f"{fault}.json").read_bytes())
        return data

    def timeline(self) -> list[dict[str, Any]]:
        path = self.folder / "timeline.ndjson"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def events(self) -> list[str]:
        return [row["event"] for row in self.timeline()]


@contextlib.contextmanager
def world(
    tmp: Path,
    regions: tuple[str, ...] = ("a", "b"),
    server: ServerChoice | None = None,
    lab: bool = False,
) -> Iterator[World]:
    """Per region an edge and a service, a link edge -> service of every region, and one per
    population and edge.
    """
    state, folder = tmp / "state", tmp / "run"
    state.mkdir()
    (folder / "journals").mkdir(parents=True)
    (folder / "logs").mkdir()
    names = [f"{region}/{kind}" for region in regions for kind in ("edge", "service")] + ["steward"]
    ports = {name: free_port() for name in names}
    (state / "world.json").write_text(json.dumps({"ports": ports, "populations": ["users"]}))
    proxies = launch(server or find_server(), log_path=tmp / "toxiproxy.log")
    try:
        with ThreadPoolExecutor(8) as pool:
            started = list(
                pool.map(
                    lambda name: subprocess.run(
                        _start(state, name), check=False, env=environment(tmp)
                    ),
                    names,
                )
            )
        assert all(done.returncode == 0 for done in started)
        target = _target(state, ports, regions, proxies, lab)
        (tmp / "target.json").write_text(json.dumps(to_json(target)))
        env = {
            **environment(tmp),
            "STORMGATE_TARGET": str(tmp / "target.json"),
            "STORMGATE_EVIDENCE": str(folder),
        }
        yield World(state, target, proxies, ports, folder, env)
    finally:
        (state / "world.json").unlink()
        for name in names:
            identity = read_pid_file(state / f"{name.replace('/', '.')}.pid")
            if identity is not None:
                end_tree(state / f"{name.replace('/', '.')}.pid", identity)
        proxies.stop(0.5)
        shutil.rmtree(state, ignore_errors=True)


def end_tree(pid_file: Path, identity: tuple[int, int]) -> None:
    with contextlib.suppress(PermissionError):
        processes.signal_if_same(*identity, signal.SIGKILL)
    child = json.loads(pid_file.read_bytes()).get("child")
    ticks = processes.pid_start_ticks(child) if child else None
    if ticks is not None:
        processes.signal_if_same(child, ticks, signal.SIGKILL)


def environment(tmp: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("STORMGATE_")}
    return {
        **env,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "XDG_STATE_HOME": str(tmp / "xdg"),
    }


def _start(state: Path, name: str) -> list[str]:
    return [sys.executable, str(SCRIPT), "start", str(state), name]


def _target(
    state: Path,
    ports: Mapping[str, int],
    regions: tuple[str, ...],
    proxies: RunningServer,
    lab: bool,
) -> Target:
    client = proxies.client()
    components: list[Component] = []
    for name, port in ports.items():
        region, _, kind = name.partition("/")
        components.append(
            Component(
                name=name,
                kind=kind or "steward",
                backend="process",
                region=region if kind else None,
                handle={
                    "pid_file": str(state / f"{name.replace('/', '.')}.pid"),
                    "start": _start(state, name),
                },
                observe=Observe(protocol="http", address=f"{HOST}:{port}"),
            )
        )
    ends = [(f"{a}/edge", f"{b}/service") for a in regions for b in regions]
    ends += [("population/users", f"{a}/edge") for a in regions]
    listen = {}
    for source, destination in ends:
        proxy = client.create(
            f"{source}->{destination}".replace("/", "."), f"{HOST}:{ports[destination]}"
        )
        listen[source, destination] = proxy.listen
        components.append(
            Component(
                name=f"link:{source}->{destination}",
                kind="link",
                backend="toxiproxy",
                handle={"url": proxies.url, "proxy": proxy.name},
                observe=Observe(protocol="tcp", address=proxy.listen),
                attributes={"source": source, "destination": destination},
            )
        )
    for region in regions:
        own = [c.name for c in components if c.region == region]
        own += [c.name for c in components if c.kind == "link" and f"{region}/" in c.name]
        components.append(
            Component(name=region, kind="region", backend="group", region=region, parts=tuple(own))
        )
    steward = f"http://{HOST}:{ports['steward']}"
    links = {f"{a}/edge": f"http://{listen['population/users', f'{a}/edge']}" for a in regions}
    return Target(
        name=f"world-{state.parent.name}",
        provision={"lab": {}} if lab else None,
        regions=tuple(Region(name=region, latitude=0, longitude=0) for region in regions),
        populations=(
            Population(
                name="users", share=1, latitude=0, longitude=0, edges=tuple(links), links=links
            ),
        ),
        components=tuple(components),
        steering=Steering(mode="table", url=f"{steward}/steering"),
        status_url=f"{steward}/status",
    )


def wait_until(condition: Callable[[], Any], deadline_s: float = 20.0) -> Any:
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.01)
