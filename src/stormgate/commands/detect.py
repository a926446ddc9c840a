"""`stormgate detect`: what a gate finds of known faults, and how often it cries over nothing."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.commands.common import load_plan, refuse

if TYPE_CHECKING:
    from stormgate.judge.statistics.detection import DetectionPower, DetectionTrial, FalseAlarms


# Options that say where, not what; each takes a value.
_PLACES = ("--reports", "--write")


@click.command(short_help="Plant known faults in the lab and see which of them a gate finds.")
@click.argument("gate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--defects", metavar="A,B", help="Only these. [default: all of `lab defects`]")
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, show_default=True)
@click.option(
    "--healthy",
    type=click.IntRange(0, 1000),
    help="So many runs over the healthy lab. [default: as many as seeds]",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Runs at a time. Each wants a core of its own: more leave runs undecided.",
)
@click.option(
    "--reports",
    type=click.Path(path_type=Path),
    help="Where run folders and results go. [default: reports/detect beside the gate's folder]",
)
@click.option(
    "--write",
    type=click.Path(path_type=Path),
    help="Write the page to this file, and its picture beside it as .svg.",
)
@click.option("--only-show", is_flag=True, help="Run nothing: tell what is there already.")
def command(
    gate: Path,
    defects: str | None,
    seeds: int,
    healthy: int | None,
    jobs: int,
    reports: Path | None,
    write: Path | None,
    only_show: bool,
) -> int:
    """Run GATE over each known defect of the lab, and over the healthy lab, once for each seed.

    What is there already is not run again: a stopped matrix goes on where it stood. Exit code 0
    when every defect was found by its own objective in every run and no healthy run failed, 1 when
    one was missed or a healthy run failed, 3 when the runs do not decide.
    """
    from stormgate.documents import suite_root
    from stormgate.judge.statistics.detection import HEALTHY, false_alarms_of, power_of
    from stormgate.lab.defects import defects as known
    from stormgate.supervise.detect import Results, gate_key, missing, play

    plan = load_plan(gate)
    if plan.target.provision is None:
        refuse(
            f"target {plan.target.name!r} is not a lab of the gate's own: nothing can be planted",
            "name a gate whose target provisions the embedded lab",
        )
    there = known()
    wanted = [name.strip() for name in defects.split(",")] if defects else sorted(there)
    if strange := [name for name in wanted if name not in there]:
        refuse(f"there is no defect {strange[0]!r}", f"one of {', '.join(sorted(there))}")
    own = {name: there[name].found_by for name in wanted}
    folder = reports or suite_root(gate) / "reports" / "detect"
    results = Results(folder, gate_key(plan))
    cases = [(name, seed) for seed in range(1, seeds + 1) for name in wanted]
    cases += [(HEALTHY, seed) for seed in range(1, (seeds if healthy is None else healthy) + 1)]
    try:
        left = missing(cases, results.read())
        click.echo(f"{len(cases)} runs, {len(cases) - len(left)} of them there already")
        for trial in play(gate, [] if only_show else left, folder, results, jobs):
            click.echo(_line(trial, own.get(trial.defect, ())))
        asked = set(cases)
        trials = [t for t in results.read() if (t.defect, t.seed) in asked]
    except OSError as error:
        raise click.ClickException(f"the results could not be kept: {error}") from error
    powers = [power_of(name, own[name], trials) for name in wanted]
    alarms = false_alarms_of(trials)
    if write is not None:
        _write(write, plan.gate, powers, alarms, trials)
    return _tell(powers, alarms)


def _line(trial: DetectionTrial, own: tuple[str, ...]) -> str:
    by = f" by {', '.join(sorted(set(trial.failed)))}" if trial.failed else ""
    strange = trial.verdict == "FAIL" and own and not set(own) & set(trial.failed)
    told = " (not its own)" if strange else ""
    if trial.verdict not in {"PASS", "FAIL"}:
        told = f": {trial.why}"
    elif not trial.measured:
        told = " (no trial: the load generator was too busy; played again next time)"
    took = f"({trial.took_s:.0f} s)"
    return f"{trial.defect}, seed {trial.seed}: {trial.verdict}{by}{told} {took}"


def _write(
    page: Path,
    gate: str,
    powers: list[DetectionPower],
    alarms: FalseAlarms,
    trials: list[DetectionTrial],
) -> None:
    from stormgate.report.detection import detection_md, detection_svg
    from stormgate.system.files import write_atomically

    picture = page.with_suffix(".svg")
    seeds = sorted({trial.seed for trial in trials})
    made = f"{datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}"
    told = f"stormgate detect {shlex.join(_as_asked(sys.argv[2:]))}"
    text = detection_md(gate, powers, alarms, told, made)
    text += f"\n![Which defects were found, by seed]({picture.name})\n"
    write_atomically(page, text)
    found_by = {power.defect: power.found_by for power in powers}
    write_atomically(picture, detection_svg(trials, found_by, seeds))


def _as_asked(arguments: list[str]) -> list[str]:
    """What decides which runs there are, without the places of this machine."""
    told, skip = [], False
    for argument in arguments:
        name, has_value, _ = argument.partition("=")
        if not skip and name not in _PLACES:
            told.append(argument)
        skip = not skip and name in _PLACES and not has_value
    return told


def _tell(powers: list[DetectionPower], alarms: FalseAlarms) -> int:
    from stormgate.model import Verdict
    from stormgate.report.words import percent

    for power in powers:
        click.echo(
            f"{power.defect}: found by its own objective in {power.own} of {power.trials} "
            f"(at least {percent(power.power_at_least)}), missed in {power.passed}"
        )
    click.echo(
        f"healthy: {alarms.failed} FAIL of {alarms.trials} (false alarms at most "
        f"{percent(alarms.rate_at_most)})"
    )
    if alarms.failed or any(power.passed or power.other for power in powers):
        return Verdict.FAIL.exit_code
    if all(power.found_always for power in powers) and alarms.passed == alarms.trials:
        return Verdict.PASS.exit_code
    return Verdict.INCONCLUSIVE.exit_code
