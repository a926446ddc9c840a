"""`stormgate mix`: traffic as it was, for a load."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def command() -> None:
    """Traffic as it was, for a load."""


@command.command("from-log")
@click.argument("log", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file. [default: printed]"
)
@click.option(
    "--every",
    "bucket_s",
    type=click.FloatRange(0.1, 86_400),
    default=10.0,
    show_default=True,
    help="Seconds over which arrivals are counted.",
)
@click.option(
    "--error",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="How far the rate of a stretch may be off, as a share of it.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0.001, 100_000),
    default=1.0,
    show_default=True,
    help="So many times as fast, with so many times the rate.",
)
def from_log(log: Path, out: Path | None, bucket_s: float, error: float, speed: float) -> int:
    """Write a Locust file that asks for what the access log LOG shows: its routes by weight, its
    arrivals as a shape. Common or combined log format, or JSON lines.
    """
    from stormgate.documents.problems import DocumentErrors, Problems
    from stormgate.reproduce.series.accesslog import read_log
    from stormgate.reproduce.traffic import NothingToSendError, locust_file
    from stormgate.system.files import write_atomically

    problems = Problems()
    traffic = read_log(log, problems, bucket_s)
    try:
        problems.raise_any()
        assert traffic is not None  # noqa: S101 - None comes with a problem
        text, gaps = locust_file(traffic, f"The traffic of {log.name}.", error, speed)
    except DocumentErrors as errors:
        raise click.ClickException(str(errors)) from None
    except NothingToSendError as wrong:
        raise click.ClickException(f"{log}: {wrong}") from None
    for gap in gaps:
        click.echo(f"not in it: {gap}", err=True)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_atomically(out, text)
        click.echo(f"{out}: {len(traffic.routes)} routes seen, {traffic.requests} requests")
    return 0
