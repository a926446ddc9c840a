"""`stormgate wire TARGET`: Toxiproxy in front of what a target names as its links."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.model import Target, Verdict

if TYPE_CHECKING:
    from stormgate.toxiproxy.wiring import LinkWire

_UP_S = 40.0
_DOWN_S = 10.0


@click.command(short_help="Put Toxiproxy in front of what a target names as its links.")
@click.argument("target_path", metavar="TARGET", type=click.Path(path_type=Path))
@click.option("--background", is_flag=True, help="Return when it stands; `--stop` ends it.")
@click.option("--stop", is_flag=True, help="End the wiring of this target that runs.")
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the addresses there, too, for `env_file` or `set -a; . FILE`.",
)
@click.option(
    "--compose-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an override for `docker compose -f … -f FILE` there.",
)
def command(
    target_path: Path,
    background: bool,
    stop: bool,
    env_file: Path | None,
    compose_file: Path | None,
) -> None:
    """Start Toxiproxy where TARGET says it is (127.0.0.1:8474), make a proxy for each of its
    `links`, print the addresses that its services are to be given, and stay until ctrl-C.

    A Toxiproxy that answers there already is used, and only the proxies made here are taken away
    at the end.
    """
    from stormgate.documents import load_target
    from stormgate.documents.problems import DocumentErrors
    from stormgate.toxiproxy.wiring import compose_override, environment_lines, wires

    try:
        target = load_target(target_path)
    except DocumentErrors as error:
        raise click.UsageError(str(error)) from None
    found, state = wires(target), _state(target)
    if stop:
        _stop(state)
        return
    if not found:
        raise click.ClickException(
            f"{target_path} has no links to wire: add links: [{{from: eu/web, to: eu/cache, "
            "upstream: 127.0.0.1:6379}]"
        )
    lines, override = environment_lines(found), compose_override(target, found)
    if env_file is not None:
        env_file.write_text("\n".join(lines) + "\n")
    if compose_file is not None:
        compose_file.write_text(override)
    running = _running(state)
    if running is not None and not background:
        raise click.ClickException(
            f"{target.name} is wired already, by process {running[0]}: end it with --stop"
        )
    if background:
        if running is None:
            _leave(target_path, state)
        _tell(lines, override, found)
        click.echo(f"wired; end it with: stormgate wire {target_path} --stop", err=True)
        return
    _stay(found, state, lambda: _tell(lines, override, found))


def _tell(lines: list[str], override: str, found: list[LinkWire]) -> None:
    """The addresses on standard output, what else there is to know beside it."""
    for line in lines:
        click.echo(line)
    for one in found:
        click.echo(f"# {one.link}: {one.listen} -> {one.upstream}", err=True)
    if override:
        click.echo(f"# for Docker Compose (--compose-file):\n{override}", err=True)


def _stay(found: list[LinkWire], state: Path, tell: Callable[[], None]) -> None:
    """Hold the wiring until ctrl-C, SIGTERM or the server's own end."""
    from stormgate.system.files import write_atomically
    from stormgate.system.processes import pid_start_ticks
    from stormgate.toxiproxy.wiring import WiringError, wire_up

    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    facts = {"pid": os.getpid(), "start_ticks": pid_start_ticks(os.getpid())}
    with contextlib.suppress(KeyboardInterrupt):
        try:
            wired = wire_up(found, state / "toxiproxy.log")
        except WiringError as error:
            raise click.ClickException(str(error)) from None
        try:
            tell()
            sys.stdout.flush()
            write_atomically(state / "wire.json", json.dumps(facts))
            while wired.alive():
                time.sleep(0.2)
            click.echo(f"Error: Toxiproxy ended by itself: see {state / 'toxiproxy.log'}", err=True)
            raise SystemExit(Verdict.ERROR.exit_code)
        finally:
            (state / "wire.json").unlink(missing_ok=True)
            wired.end()


def _leave(target_path: Path, state: Path) -> None:
    """Start one that outlives this command, and return when it stands."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path = state / "wire.log"
    with log_path.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "stormgate.cli", "wire", str(target_path.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    end = time.monotonic() + _UP_S
    while time.monotonic() < end and child.poll() is None:
        if (running := _running(state)) is not None and running[0] == child.pid:
            return
        time.sleep(0.05)
    if child.poll() is None:
        child.terminate()
        child.wait()
    said = log_path.read_text(errors="replace").strip().splitlines()
    raise click.ClickException(said[-1].removeprefix("Error: ") if said else f"see {log_path}")


def _stop(state: Path) -> None:
    from stormgate.system.processes import alive, signal_if_same

    running = _running(state)
    if running is None:
        raise click.ClickException(f"no wiring of this target runs ({state})")
    signal_if_same(*running, signal.SIGTERM)
    end = time.monotonic() + _DOWN_S
    while alive(*running):
        if time.monotonic() > end:
            signal_if_same(*running, signal.SIGKILL)
            click.echo("Error: it did not end, and was killed", err=True)
            raise SystemExit(Verdict.ERROR.exit_code)
        time.sleep(0.05)
    click.echo("ended")


def _running(state: Path) -> tuple[int, int] | None:
    from stormgate.system.processes import alive

    try:
        facts = json.loads((state / "wire.json").read_bytes())
        found = int(facts["pid"]), int(facts["start_ticks"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if alive(*found) else None


def _state(target: Target) -> Path:
    from stormgate.commands.lab import default_state

    return default_state(os.environ).resolve().parent / f"wire-{target.name}"
