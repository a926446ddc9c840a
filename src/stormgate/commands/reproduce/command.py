"""`stormgate reproduce WHAT`: the folder of a failed run."""

from __future__ import annotations

from pathlib import Path

import click

from stormgate.commands.common import refuse


@click.command(short_help="Play a failed run again on this machine, and say whether it shows.")
@click.argument("what", type=click.Path(path_type=Path))
@click.option(
    "--target",
    type=click.Path(path_type=Path),
    help="What to play it against. [default: that of the run's own gate, else targets/local.yaml]",
)
@click.option(
    "--map",
    "places",
    metavar="THERE=HERE",
    multiple=True,
    help="What a component of the run is called in the target.",
)
@click.option(
    "--suite",
    type=click.Path(path_type=Path, file_okay=False),
    help="The suite that holds the run's Locust file. [default: found from here, or the folder]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where gate, experiments and comparison are written. [default: reproduced/<run>]",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 10),
    default=0.25,
    show_default=True,
    help="How far beyond its interval a value may lie, in shares of what it missed its limit by.",
)
def command(
    what: Path,
    *,
    target: Path | None,
    places: tuple[str, ...],
    suite: Path | None,
    out: Path | None,
    tolerance: float,
) -> int:
    """Play what the failed run in the folder WHAT broke, with its load, its seed and its
    objectives, against a target on this machine.

    Exit code 1: reproduced, the same objectives fail with values as they were. 0: not reproduced.
    3: inconclusive. 2: it cannot be played, and nothing was started.
    """
    from stormgate.commands.reproduce.prepare import ReplayRequest
    from stormgate.commands.reproduce.run import reproduce

    if not what.is_dir():
        why = f"{what} is a file" if what.exists() else f"{what}: there is no such run folder"
        refuse(why, "name the folder of a failed run: reports/<run>")
    wanted = ReplayRequest(
        folder=what, target=target, places=places, suite=suite, out=out, tolerance=tolerance
    )
    return reproduce(wanted)
