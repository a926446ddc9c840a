"""`stormgate reproduce WHAT`: the folder of a failed run, or an incident that a person wrote."""

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
@click.option(
    "--speed",
    type=click.FloatRange(1, 1000),
    default=1.0,
    show_default=True,
    help="Of an incident: quiet stretches so many times as fast; faults stay as they were.",
)
@click.option("--loop", is_flag=True, help="Of an incident: again and again, until ctrl-C.")
@click.option("--hold", is_flag=True, help="Stop at the worst moment and stay there until ctrl-C.")
@click.option(
    "--export",
    type=click.Choice(["toxiproxy-cli", "chaostoolkit", "json"]),
    help="Of an incident: write it for another tool (to --out), and play nothing.",
)
@click.option(
    "--reports",
    type=click.Path(path_type=Path, file_okay=False),
    help="Of an incident: where the folder of its playing goes. [default: reports]",
)
@click.option(
    "--shrink",
    "shrinks",
    is_flag=True,
    help="Take away whatever does not matter, to the least that still fails.",
)
@click.option("--objective", metavar="NAME", help="The one to shrink by. [default: the first]")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=15.0,
    show_default=True,
    help="How long --shrink may take; it goes on where it stood.",
)
@click.option(
    "--flaky",
    type=click.FloatRange(0, 0.3),
    default=0.0,
    help="How often a try is known to be wrong. [default: as seen]",
)
def command(  # noqa: PLR0913 - one for each option
    what: Path,
    *,
    target: Path | None,
    places: tuple[str, ...],
    suite: Path | None,
    out: Path | None,
    tolerance: float,
    speed: float,
    loop: bool,
    hold: bool,
    export: str | None,
    reports: Path | None,
    shrinks: bool,
    objective: str | None,
    minutes: float,
    flaky: float,
) -> int:
    """Play what the failed run in the folder WHAT broke, with its load, its seed and its
    objectives, against a target on this machine; or what the incident in the file WHAT says.

    Exit code 1: reproduced, the same objectives fail with values as they were. 0: not reproduced.
    3: inconclusive. 2: it cannot be played, and nothing was started. Of an incident: those of the
    gate it names; without one 0 when it was played as it is written, 3 when not quite.
    """
    from stormgate.commands.reproduce.incident import IncidentRequest, reproduce_incident
    from stormgate.commands.reproduce.prepare import ReplayRequest
    from stormgate.commands.reproduce.run import kept, reproduce, shrunk

    if what.is_file():
        if shrinks or objective or flaky:
            why = "--shrink, --objective and --flaky are for the folder of a failed run"
            refuse(why, "give the incident a gate, and shrink the run that fails")
        asked = IncidentRequest(
            path=what,
            target=target,
            places=places,
            out=out,
            reports=reports,
            speed=speed,
            loop=loop,
            hold=hold,
            export=export,
        )
        return reproduce_incident(asked)
    if not what.is_dir():
        fix = "name the folder of a failed run, reports/<run>, or the file of an incident"
        refuse(f"{what}: there is no such run folder", fix)
    if speed != 1 or loop or export or reports:
        why = "--speed, --loop, --export and --reports are for incidents"
        refuse(why, "leave them out: a run is played again as it was")
    wanted = ReplayRequest(
        folder=what, target=target, places=places, suite=suite, out=out, tolerance=tolerance
    )
    if shrinks and hold:
        raise click.UsageError("--shrink and --hold: one after the other")
    if hold:
        return kept(wanted)
    if not shrinks:
        return reproduce(wanted)
    return shrunk(wanted, minutes, objective, flaky)
