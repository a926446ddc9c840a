"""Choose a Toxiproxy server and run it as a child that cannot outlive us.

Which one: `STORMGATE_TOXIPROXY_URL` (already running), `toxiproxy-server` on PATH, our own cache, a
build into that cache, and where none of these can be had the embedded server. All speak the same
API.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stormgate.system import processes
from stormgate.toxiproxy import build
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.errors import ServerNotStarted, ServerUnreachable, ToxiproxyError

URL_VARIABLE = "STORMGATE_TOXIPROXY_URL"
EMBEDDED_VERSION = f"{build.VERSION}-stormgate"
# 2.6.0 brought PATCH, 2.7.0 a /version that is JSON.
_OLDEST = (2, 7, 0)
# Python needs 0.2 s to start; twenty processes starting on two cores need patience.
_START_S = 30.0


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """Which server will be used and why; `path` for `binary`, `url` for `running`."""

    kind: Literal["running", "binary", "embedded"]
    version: str
    why: str
    path: Path | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers at `url`. `process` and `pid` are None when it is not ours to end."""

    url: str
    choice: ServerChoice
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def client(self, timeout_s: float = 5.0) -> Client:
        return Client(self.url, timeout_s)

    def stop(self, grace_s: float = 2.0) -> None:
        """End it if we started it; idempotent. A wedged real server ignores SIGTERM for 30 s and is
        killed.
        """
        if self.process:
            processes.stop(self.process, grace_s)


def find_server(env: Mapping[str, str] = os.environ) -> ServerChoice:
    """The best server that is there now; builds nothing. Raises ServerUnreachable when the URL
    asked for is dead.
    """
    missing: list[str] = []
    return _existing(env, missing) or embedded_choice("; ".join(missing))


def ensure_binary(
    progress: build.Progress = print, env: Mapping[str, str] = os.environ
) -> ServerChoice:
    """Like `find_server`, but builds the real server first when there is none. Says through
    `progress` what was chosen.
    """
    missing: list[str] = []
    choice = _existing(env, missing)
    if choice is None:
        target = build.cache_path(env)
        try:
            build.build(target, progress, env)
            choice = ServerChoice(
                "binary", build.VERSION, "built from source into our cache", target
            )
        except (build.BuildError, OSError) as error:
            choice = embedded_choice("; ".join([*missing, f"not built: {error}"]))
    progress(
        f"toxiproxy: {choice.kind} {choice.version} {choice.path or choice.url or ''} "
        f"({choice.why})"
    )
    return choice


def embedded_choice(why: str = "asked for") -> ServerChoice:
    """Our own asyncio server; always there."""
    return ServerChoice("embedded", EMBEDDED_VERSION, why)


def _existing(env: Mapping[str, str], missing: list[str]) -> ServerChoice | None:
    if url := env.get(URL_VARIABLE):
        try:
            return ServerChoice(
                "running", Client(url, 3.0).version(), f"{URL_VARIABLE} names it", url=url
            )
        except ToxiproxyError as error:
            # Somebody asked for exactly this server: another one in its place would be a surprise.
            raise ServerUnreachable(
                f"{URL_VARIABLE}={url}: no Toxiproxy answers there: {error}"
            ) from error
    if found := shutil.which("toxiproxy-server", path=env.get("PATH")):
        version = _version_of(Path(found))
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
        if version == "git" or numbers >= _OLDEST:
            return ServerChoice("binary", version, "on PATH", Path(found))
        missing.append(
            f"{found} is version {version or 'unknown'}, at least "
            f"{'.'.join(map(str, _OLDEST))} is needed"
        )
    else:
        missing.append("no toxiproxy-server on PATH")
    cached = build.cache_path(env)
    if os.access(cached, os.X_OK):
        return ServerChoice("binary", build.VERSION, "in our cache", cached)
    missing.append("none in our cache (`make setup` builds one)")
    return None


def _version_of(path: Path) -> str:
    try:
        done = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"version (\S+)", done.stdout)
    return found.group(1) if found else ""


def launch(
    choice: ServerChoice, *, host: str = "127.0.0.1", port: int = 0, log_path: Path | None = None
) -> RunningServer:
    """Start the chosen server and wait until it answers; it dies with this process, even by kill
    -9.

    Port 0 takes a free one. A server that runs already is only asked for its version. Raises
    ServerNotStarted.
    """
    if choice.kind == "running":
        assert choice.url is not None  # noqa: S101 (kept by ServerChoice's makers)
        Client(choice.url).wait_ready(_START_S)
        return RunningServer(choice.url, choice)
    # At the default level the real server logs every connection: under load that is most of what it
    # does.
    env = {"LOG_LEVEL": "error", **os.environ}
    # A session of its own: ctrl-C must not take the proxies away before the faults in them are
    # undone.
    process = processes.spawn(
        _argv(choice, host, port), env=env, log_path=log_path, new_session=True
    )
    try:
        url = _wait_listening(process, host, port, log_path)
    except BaseException:
        processes.stop(process, 0.5)
        raise
    return RunningServer(url, choice, process)


def _argv(choice: ServerChoice, host: str, port: int) -> list[str]:
    if choice.kind == "embedded":
        return [
            sys.executable,
            "-m",
            "stormgate.toxiproxy.embedded",
            "--host",
            host,
            "--port",
            str(port),
        ]
    return [str(choice.path), "-host", host, "-port", str(port)]


def _wait_listening(
    process: subprocess.Popen[bytes], host: str, port: int, log_path: Path | None
) -> str:
    """The URL, once *this* process listens and answers: on a taken port the real server lives on,
    deaf.
    """
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise ServerNotStarted(
                f"toxiproxy server ended with {process.returncode}: {_tail(log_path)}"
            )
        ports = listening_ports(process.pid)
        if ports and (port == 0 or port in ports):
            bracketed = f"[{host}]" if ":" in host else host
            url = f"http://{bracketed}:{port or min(ports)}"
            Client(url, 2.0).wait_ready(max(0.0, end - time.monotonic()))
            return url
        time.sleep(0.002)
    raise ServerNotStarted(f"toxiproxy server does not listen on {host}:{port}: {_tail(log_path)}")


def listening_ports(pid: int) -> set[int]:
    """TCP ports the process listens on, from /proc: nobody else can be taken for it. Empty when it
    is gone.
    """
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        tables = [path.read_text() for path in Path(f"/proc/{pid}/net").glob("tcp*")]
    except OSError:
        return set()  # it ended, or closed a descriptor, while we looked
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    ports = set()
    for line in (line for table in tables for line in table.splitlines()[1:]):
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def _tail(log_path: Path | None) -> str:
    if log_path is None:
        return "(no log kept)"
    lines = log_path.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-3:]) or "(its log is empty)"
