"""`stormgate lab up | status | down | defects`."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from stormgate.model import Target, Verdict

_STATE = click.option(
    "--state", type=click.Path(path_type=Path), default=None, help="Folder for the lab's files."
)
_DOWN_S = 15.0
_UP_S = 60.0


def _fail(why: str) -> NoReturn:
    """The lab itself failed, which is not the same as a wrong command line."""
    click.echo(f"Error: {why}", err=True)
    raise SystemExit(Verdict.ERROR.exit_code)


def default_state(env: Mapping[str, str]) -> Path:
    """Where a lab started by hand keeps its files: XDG_RUNTIME_DIR, else the cache, else a
    temporary folder.
    """
    from stormgate.lab.runtime.folders import cache_dir

    runtime = env.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime) / "stormgate" / "lab"
    cache = cache_dir(env)
    if cache is not None:
        return cache / "lab-running"
    return Path(tempfile.gettempdir()) / f"stormgate-{os.getuid()}" / "lab"


@click.group("lab")
def command() -> None:
    """A small real system on this machine: regions, shards, caches, distances."""


@command.command()
@click.option(
    "--defect", default=None, help="Plant a known fault of design; see `stormgate lab defects`."
)
@click.option("--foreground", is_flag=True, help="Stay until ctrl-C, then take it down.")
@click.option(
    "--target",
    "target_path",
    type=click.Path(path_type=Path),
    default=Path("targets/lab.yaml"),
    show_default=True,
)
@click.option(
    "--aws-api",
    is_flag=True,
    help="Put the API of AWS in front of it: its calls act on the lab (docs/aws.md).",
)
@click.option(
    "--pops",
    type=click.IntRange(min=0),
    default=None,
    help="So many points of presence, where the largest populations are (docs/lab.md).",
)
@click.option(
    "--regions",
    type=click.IntRange(2, 8),
    default=None,
    help="So many regions, by a target document that is written for them instead of --target.",
)
@click.option(
    "--shards", type=click.IntRange(1, 64), default=None, help="A ring of so many shards."
)
@_STATE
def up(
    defect: str | None,
    foreground: bool,
    target_path: Path,
    aws_api: bool,
    pops: int | None,
    regions: int | None,
    shards: int | None,
    state: Path | None,
) -> None:
    """Start the lab and return when it is whole. `stormgate lab down` ends it."""
    from stormgate.documents.problems import DocumentErrors
    from stormgate.lab.defects import planted
    from stormgate.lab.errors import LabError

    state = (state or default_state(os.environ)).resolve()
    given = click.get_current_context().get_parameter_source("target_path")
    if regions is not None and given is ParameterSource.COMMANDLINE:
        raise click.UsageError("--regions writes a target of its own: leave --target out")
    try:
        planted(defect)
        if regions is not None:
            target_path = _written(state, regions, pops or 0, shards or 0)
            pops = shards = None
        target = _asked(target_path, aws_api, pops, shards)
    except (LabError, DocumentErrors) as error:
        raise click.UsageError(str(error)) from None
    try:
        if foreground:
            _stay(target, state, defect)
            return
        resolved = _leave(target, state, defect)
    except LabError as error:
        _fail(str(error))
    click.echo(
        f"up: {len(resolved.components)} components; steering {resolved.steering.url}; files "
        f"in {state}"
    )
    if regions is not None:
        click.echo(f"the same again, or by a gate (spec.target): {target_path}")
    if (url := resolved.attributes.get("awsEndpointUrl")) is not None:
        click.echo(f"the API of AWS: export AWS_ENDPOINT_URL={url}")


def _asked(path: Path, aws_api: bool, pops: int | None, shards: int | None) -> Target:
    """The target of a document, with what the options add. Raises LabError, DocumentErrors and
    click.UsageError.
    """
    from stormgate.documents import load_target
    from stormgate.lab.design.plan import plan

    target = load_target(path)
    if aws_api:
        target = _with(target, "--aws-api", awsApi=True)
    if pops is not None:
        target = _with(target, "--pops", pops=pops)
    if shards is not None:
        target = _with(target, "--shards", ring={"shards": shards})
    if pops is not None or shards is not None:
        plan(target)
    return target


def _written(state: Path, regions: int, pops: int, shards: int) -> Path:
    """The file of a target document for a lab of that size. Raises LabError, click.UsageError."""
    from stormgate.lab.design.sized import document
    from stormgate.system.files import write_atomically

    text = document(regions, pops, shards)
    path = state / "target.yaml"
    try:
        state.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise click.UsageError(f"cannot write to {state}: {error.strerror}") from None
    return path


def _with(target: Target, option: str, **asked: Any) -> Target:
    """The target whose lab is asked for with something more. Raises click.UsageError."""
    from dataclasses import replace

    options = (target.provision or {}).get("lab")
    if options is None:
        raise click.UsageError(f"{option} is for a target that the lab provisions")
    return replace(target, provision={"lab": {**options, **asked}})


@command.command()
@_STATE
def status(state: Path | None) -> None:
    """What runs, in which role, where; its links with their round trips, and what is broken by
    whom. Exit code 1 when the lab is not whole.
    """
    import urllib.request

    from rich.console import Console
    from rich.table import Table

    from stormgate.commands.gameday.lines import primaries, told_faults, told_links

    state, pid = _running(state)
    topology = json.loads((state / "topology.json").read_text())
    processes = _ask(state, {"op": "status"})["components"]
    try:
        with urllib.request.urlopen(topology["status_url"], timeout=2.0) as answer:  # noqa: S310 - the lab's own, on loopback
            seen = json.load(answer)
    except OSError as error:
        seen = {"whole": False, "why": f"the steward does not answer: {error}", "components": {}}
    table = Table("component", "state", "role", "pid", "address")
    for name, facts in processes.items():
        watched = seen["components"].get(name, {})
        state_word = (
            watched.get("state", "unknown") if facts["running"] else f"ended ({facts['exit_code']})"
        )
        table.add_row(
            name, state_word, watched.get("role") or "", str(facts["pid"]), facts["address"]
        )
    console = Console()
    console.print(table)
    for line in (*primaries(topology, seen["components"]), *told_links(topology)):
        console.print(line, highlight=False, markup=False)
    for line in told_faults(topology["name"]):
        console.print(line, highlight=False, markup=False)
    console.print(f"daemon {pid}: " + ("whole" if seen["whole"] else f"not whole: {seen['why']}"))
    if not seen["whole"]:
        raise SystemExit(1)


@command.command()
@_STATE
def down(state: Path | None) -> None:
    """End the lab and everything that belongs to it."""
    import signal
    import time

    from stormgate.system import processes

    state, pid = _running(state)
    ticks = processes.pid_start_ticks(pid)
    if ticks is not None:
        processes.signal_if_same(pid, ticks, signal.SIGTERM)
        end = time.monotonic() + _DOWN_S
        while processes.alive(pid, ticks):
            if time.monotonic() > end:
                # Its janitor does the rest.
                processes.signal_if_same(pid, ticks, signal.SIGKILL)
                _fail(f"the lab did not end within {_DOWN_S:g} s and was killed")
            time.sleep(0.05)
    click.echo("down")


@command.command()
def defects() -> None:
    """The known faults of design that `up --defect NAME` plants."""
    from stormgate.lab import defects as known

    for defect in known.defects().values():
        click.echo(f"{defect.name:20} {defect.summary}")


def _running(state: Path | None) -> tuple[Path, int]:
    from stormgate.lab.runtime.launch import running_pid

    state = (state or default_state(os.environ)).resolve()
    pid = running_pid(state)
    if pid is None:
        _fail(f"no lab runs in {state}")
    return state, pid


def _ask(state: Path, request: dict[str, Any]) -> dict[str, Any]:
    from stormgate.lab.errors import LabError
    from stormgate.lab.runtime import control

    try:
        return control.ask(
            Path(json.loads((state / "daemon.json").read_text())["control"]), request, 5.0
        )
    except LabError as error:
        _fail(str(error))


def _leave(target: Target, state: Path, defect: str | None) -> Target:
    """Start the daemon so that it outlives this command; the resolved target."""
    import subprocess

    from stormgate.lab.runtime.launch import await_whole, daemon_argv, prepare
    from stormgate.system import processes

    prepare(target, state, os.environ, click.echo)
    with (state / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            daemon_argv(state, defect),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    try:
        return await_whole(process, state, _UP_S, click.echo)
    except BaseException:
        processes.stop(process, 10.0)
        raise


def _stay(target: Target, state: Path, defect: str | None) -> None:
    """Hold the lab until ctrl-C, SIGTERM or its own end."""
    import contextlib
    import signal
    import time

    from stormgate.lab.errors import LabError
    from stormgate.lab.runtime.launch import launch

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        lab = launch(target, state=state, defect=defect, deadline_s=_UP_S, on_progress=click.echo)
        try:
            click.echo(f"up, until ctrl-C; steering {lab.target.steering.url}; files in {state}")
            while lab.alive():
                time.sleep(0.2)
            raise LabError(
                f"the lab ended by itself with {lab.process.returncode}: see {state / 'daemon.log'}"
            )
        finally:
            lab.stop()
