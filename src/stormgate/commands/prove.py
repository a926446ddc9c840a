"""`stormgate prove`: is a gate worth anything on its target? Its objectives are violated there."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.commands.common import load_plan, preflight, refuse
from stormgate.commands.hold import held

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stormgate.documents.violations.planner import Proving
    from stormgate.model import Judgement, ObjectiveProof, Plan
    from stormgate.supervise.proving.play import Provable

_WIDEST = 24


@click.command(short_help="Violate each objective of a gate on its target, and see that it fails.")
@click.argument("gate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--only", metavar="OBJECTIVE", multiple=True, help="Violate this objective alone. May repeat."
)
@click.option(
    "--by",
    metavar="OBJECTIVE=FILE",
    multiple=True,
    help="An experiment of yours that violates this objective.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--again", is_flag=True, help="Run what has an answer already, too.")
@click.option(
    "--reports",
    type=click.Path(path_type=Path),
    help="Where run folders go. [default: reports/prove beside the gate's folder]",
)
@click.option(
    "--allow-production", is_flag=True, help="Needed for a target whose environment is production."
)
@click.option("--no-check", is_flag=True, help="Do not look at the target first.")
def command(
    gate: Path,
    *,
    only: tuple[str, ...],
    by: tuple[str, ...],
    only_plan: bool,
    again: bool,
    reports: Path | None,
    allow_production: bool,
    no_check: bool,
) -> int:
    """Violate the objectives of GATE on its target, by what the target's own backends can break,
    and see that each fails by name.

    What has an answer already is not run again: a stopped proof goes on where it stood. The answers
    stand in proofs/, and in the reports of later runs. Exit code 0 when every objective that can be
    violated failed, 1 when one passed over a violation, 3 when a run does not decide.
    """
    from stormgate.documents import suite_root
    from stormgate.supervise.hush import know_plan
    from stormgate.supervise.proving.record import keep, read_proofs

    root = suite_root(gate)
    plan = load_plan(gate, allow_production=allow_production)
    own = _own(by, plan)
    _known([*only, *own], plan)
    know_plan(plan, root)
    folder = reports or root / "reports" / "prove"
    proving, trials = _planned(gate, plan, folder, only, own, allow_production)
    try:
        there = read_proofs(root, plan.gate)
    except (OSError, ValueError) as error:
        refuse(f"what is proved already cannot be read: {error}", "remove that file")
    waiting = _waiting(trials, [] if again else there)
    _tell_plan(plan, proving, trials, waiting)
    if only_plan:
        return 0
    from stormgate.supervise.proving.play import no_ways

    code = None
    try:
        keep(root, plan.gate, no_ways(plan, proving.unviolated))
        if waiting:
            with held(plan, folder):
                if plan.target.provision is None and not no_check:
                    _check_first(preflight(gate, plan), root, folder)
                code = _run_all(gate, waiting, root, folder)
    except OSError as error:
        raise click.ClickException(f"the proofs could not be kept: {error}") from error
    found = {
        one.objective: one for one in read_proofs(root, plan.gate) if one.target == plan.target.name
    }
    names = [name for trial in trials for name in trial.violation.objectives]
    return code or _told([found[name] for name in names if name in found], names, root, plan)


def _own(by: Sequence[str], plan: Plan) -> dict[str, str]:
    found = {}
    for one in by:
        name, equals, file = one.partition("=")
        if not equals or not Path(file).is_file():
            refuse(
                f"--by {one}: there is no file {file!r}", "write --by OBJECTIVE=experiments/x.yaml"
            )
        found[name] = file
    return found


def _known(names: Sequence[str], plan: Plan) -> None:
    there = [objective.name for objective in plan.objectives]
    for name in names:
        if name not in there:
            refuse(f"{plan.gate} has no objective {name!r}", f"one of {', '.join(there)}")


def _planned(
    gate: Path,
    plan: Plan,
    folder: Path,
    only: Sequence[str],
    own: Mapping[str, str],
    allow_production: bool,
) -> tuple[Proving, list[Provable]]:
    from stormgate.documents import DocumentErrors, suite_root
    from stormgate.documents.violations.derive import derive
    from stormgate.documents.violations.planner import Violation, plan_violations
    from stormgate.supervise.proving.play import provable

    derived: dict[str, Plan] = {}

    def accept(violation: Violation) -> str | None:
        try:
            derived[violation.name] = derive(
                gate, plan, violation, folder / plan.gate, allow_production=allow_production
            )
        except DocumentErrors as errors:
            return next(iter(str(errors).splitlines()))
        return None

    try:
        proving = plan_violations(plan, accept, only, own)
        trials = [
            provable(one, derived[one.name], plan, suite_root(gate)) for one in proving.violations
        ]
    except OSError as error:
        raise click.ClickException(f"a violation could not be written: {error}") from error
    return proving, trials


def _waiting(trials: Sequence[Provable], there: Sequence[ObjectiveProof]) -> list[Provable]:
    from stormgate.supervise.proving.play import left

    return left(trials, there)


def _tell_plan(
    plan: Plan, proving: Proving, trials: Sequence[Provable], waiting: Sequence[Provable]
) -> None:
    from stormgate.supervise.proving.play import limits

    click.echo(f"{plan.gate} on {plan.target.name}: {len(trials)} violations")
    for trial in trials:
        one = trial.violation
        there = "" if trial in waiting else "  (there is an answer already)"
        click.echo(f"  {', '.join(one.objectives)}")
        click.echo(f"    must fail by {one.name}: {one.told}{there}")
        for name, why in limits(one).items():
            click.echo(f"    {name}: {why}")
    for two in proving.unviolated:
        click.echo(f"  {two.objective}\n    cannot be violated here: {two.why}")


def _check_first(plan: Plan, root: Path, folder: Path) -> None:
    from stormgate.commands.check import look

    click.echo("looking first whether everything is there (--no-check leaves it out)")
    if wrong := look(plan, root, folder):
        refuse(f"{wrong} wrong, and nothing was broken", "see above, then run it again")


def _run_all(gate: Path, waiting: Sequence[Provable], root: Path, folder: Path) -> int | None:
    """Run each, keep what it proves; an exit code where a run was stopped or left something broken.
    Raises OSError.
    """
    from stormgate.model import Verdict
    from stormgate.supervise.proving.play import proofs_of
    from stormgate.supervise.proving.record import keep
    from stormgate.supervise.supervisor import Supervisor
    from stormgate.supervise.terms import Options

    options = Options(root=root, reports=folder)
    for trial in waiting:
        click.echo(f"{trial.violation.name}: {trial.violation.told}")
        plan = preflight(gate, trial.plan)
        judgement, run = Supervisor(plan, options, _Lines()).run()
        for one in (fresh := proofs_of(trial, judgement, run, root)):
            click.echo(f"  {_state(one)}  {one.objective}: {one.why}")
        keep(root, plan.gate, fresh)
        if judgement.verdict in {Verdict.DIRTY, Verdict.ABORTED}:
            click.echo(f"  {judgement.verdict}: {judgement.why} ({run})")
            return judgement.verdict.exit_code
    return None


class _Lines:
    """A run in a few lines: that it fails is what it is for, so its verdict is left out."""

    def phase(self, name: str, seconds: float | None) -> None:
        click.echo(f"  {click.style(name, dim=True)}")

    def tick(self, stats: Mapping[str, object]) -> None:
        """Nothing: a run takes half a minute."""

    def event(self, text: str) -> None:
        click.echo(f"    {click.style(text, dim=True)}")

    def done(self, judgement: Judgement, folder: Path) -> None:
        click.echo(f"    {click.style(f'evidence in {folder}', dim=True)}")


def _state(proof: ObjectiveProof) -> str:
    from stormgate.model import PASSED_OVER, PROVED

    colour = {PROVED: "green", PASSED_OVER: "red"}.get(proof.state, "yellow")
    return click.style(f"{proof.state:<10}", fg=colour)


def _told(found: Sequence[ObjectiveProof], names: Sequence[str], root: Path, plan: Plan) -> int:
    """The last word, and the exit code."""
    from stormgate.model import PASSED_OVER, PROVED, Verdict
    from stormgate.supervise.proving.record import record_of

    by = {
        state: [one.objective for one in found if one.state == state]
        for state in (PROVED, PASSED_OVER)
    }
    loose, proved = by[PASSED_OVER], by[PROVED]
    open_ = [name for name in names if name not in {*loose, *proved}]
    click.echo(f"proved able to fail: {', '.join(proved) or 'none'}")
    if loose:
        click.echo(f"passed over a violation, and are worth nothing here: {', '.join(loose)}")
    if open_:
        click.echo(f"undecided: {', '.join(open_)}")
    with contextlib.suppress(ValueError):
        click.echo(f"kept in {record_of(root, plan.gate).relative_to(Path.cwd().resolve())}")
    if loose:
        return Verdict.FAIL.exit_code
    return Verdict.INCONCLUSIVE.exit_code if open_ or not proved else Verdict.PASS.exit_code
