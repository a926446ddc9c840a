"""`stormgate publish`: a run's verdict for the machines around a pipeline."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.model import EXIT_USAGE

if TYPE_CHECKING:
    import socket

    from stormgate.model import Judgement
    from stormgate.net.httpserver import HttpRequest, HttpResponse

_LOOK_S = 0.25


@click.command(short_help="Publish a run's verdict: JSON for rollouts, annotations for GitHub.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write the JSON to this file.")
@click.option("--serve", metavar="PORT", type=click.IntRange(0, 65535), help="Serve it by HTTP.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where --serve listens.")
@click.option(
    "--for", "for_s", type=click.FloatRange(min=0), help="Serve for so many seconds. [until ctrl-C]"
)
@click.option(
    "--github", is_flag=True, help="Annotate, and append the summary to $GITHUB_STEP_SUMMARY."
)
def command(
    run: Path, out: Path | None, serve: int | None, host: str, for_s: float | None, github: bool
) -> int:
    """Say what RUN (a run folder; `reports/latest` follows the newest) came to.

    Without an option the JSON is printed. Its `success` is true on PASS alone, its `failure` on
    FAIL and DIRTY alone; while the run goes on its `state` is RUNNING, and --serve answers 503.
    The exit code is 0: what was published is a report, not the gate.
    """
    from stormgate.report.published import github_annotations, published_json
    from stormgate.system.files import write_atomically

    if serve is not None:
        return _serve(run, host, serve, for_s)
    judgement = _judgement(run)
    if judgement is None:
        raise click.ClickException(
            f"{run}: no readable verdict.json\n  fix: name a run folder, such as reports/latest"
        )
    text = published_json(judgement, run.resolve().name)
    if out is not None:
        try:
            write_atomically(out, text)
        except OSError as error:
            raise click.ClickException(f"{out}: {error.strerror or error}") from error
    if github:
        for line in github_annotations(judgement):
            click.echo(line)
        _step_summary(run)
    if out is None and not github:
        click.echo(text, nl=False)
    return 0


def _judgement(run: Path) -> Judgement | None:
    """What the folder's verdict.json says; None where there is none that can be read."""
    import json

    from stormgate.model import Judgement, from_json

    try:
        return from_json(Judgement, json.loads((run / "verdict.json").read_bytes()))
    except (OSError, ValueError):
        return None


def _step_summary(run: Path) -> None:
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file:
        return
    try:
        text = (run / "summary.md").read_text(encoding="utf-8")
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise click.ClickException(f"the summary could not be written: {error}") from error


def _serve(run: Path, host: str, port: int, for_s: float | None) -> int:
    import asyncio
    import socket

    # Bound here, so that the port is known (0: any) and taken before anything is said.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        click.echo(f"{host}:{port}: {error.strerror or error}", err=True)
        return EXIT_USAGE
    sock.listen()
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"serving {run} at http://{shown}:{sock.getsockname()[1]}/ (ctrl-C ends it)")
    try:
        asyncio.run(_answer(run, sock, for_s))
    except KeyboardInterrupt:
        return 0
    return 0


async def _answer(run: Path, sock: socket.socket, for_s: float | None) -> None:
    import asyncio

    from stormgate.net.httpserver import serving

    async def handler(request: HttpRequest) -> HttpResponse:
        return response(run, request.method)

    until = None if for_s is None else time.monotonic() + for_s
    async with serving(handler, sock=sock):
        while until is None or time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)


def response(run: Path, method: str) -> HttpResponse:
    """The answer to one request: 200 with the verdict, 503 before there is one or when it cannot
    be read, 405 for anything but reading.
    """
    import json

    from stormgate.net.httpserver import HttpResponse
    from stormgate.report.published import RUNNING, published

    if method not in {"GET", "HEAD"}:
        return HttpResponse(405, b"{}", headers={"Allow": "GET, HEAD"})
    judgement = _judgement(run)
    fresh = {"Cache-Control": "no-store"}
    if judgement is None:
        body = {"state": RUNNING, "why": f"{run.name}: no verdict yet"}
        return HttpResponse(503, json.dumps(body).encode(), headers=fresh)
    said = published(judgement, run.resolve().name)
    status = 503 if said["state"] == RUNNING else 200
    return HttpResponse(status, json.dumps(said).encode(), headers=fresh)
