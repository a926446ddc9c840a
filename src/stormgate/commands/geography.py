"""`stormgate geography`: a mix as a table and a map."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from stormgate.documents.mix import TrafficMix

EXIT_USAGE = 2


@click.command("geography")
@click.argument("mix", default="world")
@click.option(
    "--cloud",
    default="aws",
    show_default=True,
    help="Whose regions serve the built-in mix: aws, azure or gcp.",
)
@click.option(
    "--date",
    "on",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day to show (weekday and summer time).  [default: today]",
)
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=12,
    show_default=True,
    help="How many populations to list.",
)
@click.option(
    "--width", type=click.IntRange(min=60), help="Columns to draw in.  [default: the terminal's]"
)
@click.option(
    "--json", "as_json", is_flag=True, help="Everything as JSON, every population with it."
)
def command(
    mix: str, cloud: str, on: datetime | None, top: int, width: int | None, as_json: bool
) -> None:
    """Show where requests come from, which edge is nearest, and when they come.

    MIX is a TrafficMix document, a target, or "world": the 120 largest cities, served from a
    cloud's regions.
    """
    # Imported here: `stormgate --help` must not wait for them.
    from stormgate.geography.summary import facts

    traffic = _read(mix, cloud)
    day = (on or datetime.now(UTC)).date()
    if as_json:
        import json

        click.echo(json.dumps(facts(traffic, day).to_json(), indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from stormgate.geography.show import render

    # A name may have letters that an old terminal lacks; "?" in its place is better than no map.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    Console(width=width).print(render(traffic, on=day, top=top))


def _read(mix: str, cloud: str) -> TrafficMix:
    from pathlib import Path

    from stormgate.documents.mix import read_mix
    from stormgate.documents.problems import DocumentErrors
    from stormgate.documents.worlds import world
    from stormgate.geography.mix import MixError

    try:
        if mix == "world":
            return world(cloud)
        return read_mix(Path(mix))
    except (DocumentErrors, MixError, ValueError) as error:
        click.echo(str(error), err=True)
        raise SystemExit(EXIT_USAGE) from error
