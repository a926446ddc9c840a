"""`stormgate reproduce RUN --hold`: the worst moment, kept until ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stormgate.commands.common import refuse
from stormgate.commands.hold import held
from stormgate.commands.reproduce.prepare import Replayable

if TYPE_CHECKING:
    from stormgate.model import Judgement, Plan, Target
    from stormgate.reproduce.recorded import Trial
    from stormgate.supervise.terms import Screen

LONGEST_S = 86_400.0
_FILE = "held.yaml"
_SEEN = "seen broken from outside"


def hold(known: Replayable, plan: Plan) -> int:
    """Play it up to its worst moment and stay there, load and all. Exit code 0 when it ended whole,
    6 when a fault could not be taken back, else what the run came to.
    """
    from stormgate.evidence import open_run
    from stormgate.model import Fault, Guard, Verdict
    from stormgate.report.console import RunScreen
    from stormgate.reproduce.live import was_stopped
    from stormgate.reproduce.native import experiment, strikes
    from stormgate.reproduce.suite import in_words, yaml_text
    from stormgate.reproduce.worst import stopped_at, worst_moment
    from stormgate.supervise.hush import know_plan
    from stormgate.supervise.supervisor import Supervisor
    from stormgate.supervise.terms import Options
    from stormgate.system.files import write_atomically

    if not known.run.trials:
        refuse("that run broke nothing: there is no moment to stop at", "leave --hold out")
    failed = {one.name for one in known.run.failed}
    objective = next(one for one in known.run.plan.objectives if one.name in failed)
    worst = worst_moment(open_run(known.run.folder), known.run.trials, objective)
    if worst is None:
        refuse("no request went wrong while a fault stood", "leave --hold out")
    trial = next(one for one in known.run.trials if one.name == worst.trial)
    kept = stopped_at(trial, worst.second_s, LONGEST_S)
    made = experiment(
        f"{trial.name}, at its worst",
        in_words(kept),
        kept.schedule,
        tells_whole=known.place.tells_whole,
    )
    path = known.place.folder / _FILE
    write_atomically(path, yaml_text(made, "The worst moment, kept."))
    click.echo(
        f"the worst moment: {worst.second_s:g} s into {trial.name}, {worst.bad:.0%} of the "
        f"requests that {objective.name} looks at were bad"
    )
    plan = replace(
        plan,
        gate=f"held-{known.run.plan.gate}",
        steady_s=0.0,
        final_s=0.0,
        faults=(
            Fault(
                name=trial.name,
                experiment=os.path.relpath(path, known.root),
                recovery_s=1.0,
            ),
        ),
        guard=Guard(max_fault_s=2 * LONGEST_S),
        retry_inconclusive=0,
        stop="planned",
    ).sealed()
    know_plan(plan, known.root)
    reports = known.root / "reports"
    defect = known.run.lab_defect if plan.target.provision is not None else None
    screen = HeldScreen(RunScreen(plan), reports, kept, len(strikes(kept.schedule)))
    options = Options(root=known.root, reports=reports, lab_defect=defect)
    with held(plan, reports):
        judgement, _ = Supervisor(plan, options, screen).run()
    if judgement.verdict is Verdict.DIRTY:
        return judgement.exit_code
    return 0 if was_stopped(judgement) and screen.holds else judgement.exit_code


class HeldScreen:
    """A run's screen that says, once everything is seen broken, what to connect to."""

    def __init__(self, screen: Screen, reports: Path, trial: Trial, strikes: int) -> None:
        self._screen = screen
        self._reports = reports
        self._trial = trial
        self._left = strikes
        self.holds = False

    def phase(self, name: str, seconds: float | None) -> None:
        self._screen.phase(name, seconds)

    def tick(self, stats: Mapping[str, Any]) -> None:
        self._screen.tick(stats)

    def event(self, text: str) -> None:
        self._screen.event(text)
        if _SEEN not in text or self.holds:
            return
        self._left -= 1
        if self._left <= 0:
            self.holds = True
            for line in self._told():
                self._screen.event(line)

    def done(self, judgement: Judgement, folder: Path) -> None:
        self._screen.done(judgement, folder)

    def _told(self) -> Iterator[str]:
        from stormgate.evidence import open_run
        from stormgate.reproduce.suite import in_words

        plan = open_run(self._reports / "latest").plan
        yield f"held: {in_words(self._trial).splitlines()[0].split(' for ')[0]}; ctrl-C undoes it"
        if plan is not None:
            where = {one.where for one in self._trial.schedule.segments}
            yield from addresses(plan.target, where)


def addresses(target: Target, broken: set[str]) -> Iterator[str]:
    """What to connect to, a line each: how users reach the target, and each component that has an
    address, those that are broken marked.
    """
    for population in target.populations:
        edge = next((name for name in population.edges if name in population.links), None)
        if edge is not None:
            yield f"  as {population.name}: {population.links[edge]} ({edge})"
    for one in target.components:
        if one.observe is not None and (one.kind != "link" or one.name in broken):
            mark = "  <- broken" if one.name in broken else ""
            yield f"  {one.name}: {one.observe.protocol} {one.observe.address}{mark}"
