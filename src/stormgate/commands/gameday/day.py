"""`stormgate gameday`: a day as a script, with people's answers and times beside the system's."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.commands.common import LIVE, live_runs, load_plan, preflight, refuse
from stormgate.commands.gameday.chosen import BY, REPORTS, TARGET, person, the_target
from stormgate.commands.hold import held

if TYPE_CHECKING:
    from stormgate.model import Judgement, Plan
    from stormgate.model.gameday import GameDay
    from stormgate.supervise.children import RunningTarget
    from stormgate.supervise.terms import Options


@click.group("gameday", short_help="Walk through a game day: steps, hypotheses, people's times.")
def command() -> None:
    """A game day as a script (kind GameDay, docs/how-to/game-day.md)."""


@command.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@LIVE
@click.option("--rehearse", is_flag=True, help="On a lab of its own, waiting for nobody.")
@click.option("--allow-production", is_flag=True, help="Needed for a target that is production.")
@TARGET
@REPORTS
@BY
def run(
    file: Path,
    *,
    rehearse: bool,
    live: int | None,
    allow_production: bool,
    target_file: Path | None,
    reports: Path | None,
    by: str | None,
) -> int:
    """Walk through the steps of FILE while the users of its gate are on the target.

    Before each step somebody says go, skip, hold 30s or abort; at any time `note TEXT`, and
    `note detected` and `note mitigated`, whose times are held against the step's hypothesis.
    Abort, ctrl-C and the end of this process take every fault back.

    Exit code 0: every hypothesis held; 1: one did not; 3: one was not decided; 5: aborted; 6:
    something is not undone.
    """
    from stormgate.documents import suite_root
    from stormgate.evidence import open_run
    from stormgate.report.days import exit_code, outcomes
    from stormgate.supervise.hush import know_plan
    from stormgate.supervise.terms import Options

    day, plan, gate, standing = _read(file, rehearse, allow_production, target_file)
    know_plan(plan, root := suite_root(gate))
    reports = reports or root / "reports"
    with held(plan, reports):
        try:
            options = Options(root=root, reports=reports, standing=standing)
            judgement, folder = _walk(plan, options, day, person(by), live)
        except OSError as error:
            raise click.ClickException(f"no run folder could be made: {error}") from error
    found = outcomes(day, judgement, open_run(folder))
    for one in found:
        _say(f"{one.step.name}: {one.belief.value}: {one.step.hypothesis.says}")
        for why in one.why:
            _say(f"  {why}")
    code = exit_code(found, judgement)
    if code > 3:
        _say(f"{judgement.verdict.value}: {judgement.why}")
    _say(f"report: {folder / 'gameday.html'}")
    return code


def _walk(
    plan: Plan, options: Options, day: GameDay, by: str, live: int | None
) -> tuple[Judgement, Path]:
    from stormgate.report.plain import QuietScreen
    from stormgate.supervise.hands.walk import Console, PageAnswers, Rehearsed, Walk
    from stormgate.supervise.live.watch import live_page

    answers = Rehearsed() if day.rehearsal else Console(sys.stdin.fileno())
    screen = QuietScreen(lambda text: None)
    if live is None:
        return Walk(plan, options, screen, day, answers, _say, by).run()
    both = PageAnswers(answers)
    runs = live_runs(live, both.acts(), both.shown)

    def say(text: str) -> None:
        _say(text)
        runs.event(text)

    with live_page(runs, _say):
        return runs.run(plan, options, screen, lambda p, o, s: Walk(p, o, s, day, both, say, by))


@command.command()
@click.argument("text")
@TARGET
@BY
def note(text: str, target_file: Path | None, by: str | None) -> None:
    """Write TEXT into the run on the target now, from any console: `detected`, `mitigated`, or
    whatever somebody should read afterwards.
    """
    from stormgate.evidence.read import read_ndjson
    from stormgate.evidence.write import TIMELINE, Timeline
    from stormgate.faults.hands.asking import keeper_of, keepers
    from stormgate.model import Event

    if target_file is not None:
        found = [one for one in [keeper_of(the_target(target_file).name)] if one is not None]
    else:
        found = keepers()
    if len(found) != 1:
        refuse(f"{len(found)} runs go on by hand here", "name the target: --target")
    rows, _ = read_ndjson(found[0].folder / TIMELINE)
    answers = [row for row in rows if row.get("event") == Event.GAMEDAY_ANSWER]
    step = str(answers[-1].get("step", "")) if answers else ""
    with Timeline(found[0].folder) as timeline:
        timeline.write(Event.GAMEDAY_NOTE, step=step, text=text, by=person(by))
    _say(f"noted in {found[0].folder}")


def _read(
    file: Path, rehearse: bool, allow_production: bool, target_file: Path | None
) -> tuple[GameDay, Plan, Path, RunningTarget | None]:
    from stormgate.commands.gameday.load import standing_target
    from stormgate.documents import DocumentErrors
    from stormgate.documents.days.read import day_plan, read_day, read_shape
    from stormgate.documents.trial.given import parse_changes
    from stormgate.judge.canary import canary_problems

    try:
        shape, document, gate = read_shape(file)
        spec = shape.spec
        plan = load_plan(
            gate,
            allow_production=allow_production,
            changes=parse_changes((), spec.rate_per_s, ()),
        )
        day = read_day(shape, document, plan, rehearsal=rehearse)
    except DocumentErrors as errors:
        raise click.ClickException(str(errors)) from None
    plan = preflight(gate, plan)
    if rehearse and plan.target.provision is None:
        refuse(f"--rehearse: {plan.target.name!r} is no lab", "a gate on the lab, for a rehearsal")
    if rehearse:
        # A name of its own: another lab of the same document may run beside it.
        target, standing = replace(plan.target, name=f"{plan.target.name}-rehearsal"), None
    else:
        target, standing = standing_target(gate, None, target_file)
    plan = replace(plan, target=target)
    plan = day_plan(day, plan, steady_s=spec.steady, final_s=spec.final)
    if blind := canary_problems(plan):
        raise click.ClickException("\n".join(blind))
    return day, plan, gate, standing


def _say(text: str) -> None:
    from stormgate.report.words import one_line

    click.echo(one_line(text))
