"""`stormgate gate`: the whole trial."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.commands.common import LIVE, live_runs, load_plan, preflight, refuse
from stormgate.commands.hold import held

if TYPE_CHECKING:
    from stormgate.model import Judgement, Plan
    from stormgate.supervise.terms import Options, Screen

_FEWEST_FILES = 256  # what its load workers need (load/locust/worker.py)


@click.command(short_help="Put a target on trial and say whether the release may ship.")
@click.argument("gate", type=click.Path(path_type=Path))
@click.option(
    "--reports",
    type=click.Path(path_type=Path),
    help="Where run folders go. [default: reports/ beside the gate's folder]",
)
@click.option(
    "--lab-defect",
    metavar="NAME",
    help="Plant a known fault of design in the lab (see `stormgate lab defects`).",
)
@click.option("--seed", type=int, help="Another seed than the gate's.")
@click.option(
    "--allow-production", is_flag=True, help="Needed for a target whose environment is production."
)
@click.option(
    "--no-check", is_flag=True, help="Do not look at the target first (`stormgate check`)."
)
@LIVE
@click.option("-q", "--quiet", "form", flag_value="quiet", help="One line, at the end.")
@click.option("--json", "form", flag_value="json", help="What happens as NDJSON, an object a line.")
@click.option("--release", metavar="NAME", help="The release on trial. [default: the pipeline's]")
@click.option("--commit", metavar="SHA", help="Its commit. [default: the pipeline's]")
@click.option(
    "--set",
    "assignments",
    metavar="PATH=VALUE",
    multiple=True,
    help="For a short try: change a phase, the load or a guard, as in phases.steady=20s.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="For a short try: so many requests/s.",
)
@click.option(
    "--only-fault",
    "only_faults",
    metavar="NAME",
    multiple=True,
    help="For a short try: this fault alone. What was left out is never a PASS.",
)
def command(  # noqa: PLR0913 - one for each option of the command line
    gate: Path,
    *,
    reports: Path | None,
    lab_defect: str | None,
    seed: int | None,
    allow_production: bool,
    no_check: bool,
    live: int | None,
    form: str | None,
    release: str | None,
    commit: str | None,
    assignments: tuple[str, ...],
    rate: float | None,
    only_faults: tuple[str, ...],
) -> int:
    """Run the ReleaseGate in GATE against its target.

    Prints the phases as they pass, then the objectives with their verdicts, and leaves the evidence
    in a run folder. A run that only the load generator kept from an answer is tried again as often
    as the gate's `policy.retryInconclusive` says.
    """
    from dataclasses import replace

    from stormgate.commands.identity import release_of
    from stormgate.documents import suite_root
    from stormgate.documents.trial.given import parse_changes
    from stormgate.supervise.hush import know_plan
    from stormgate.supervise.terms import Options

    try:
        changes = parse_changes(assignments, rate, only_faults)
    except ValueError as error:
        raise click.UsageError(f"--set: {error}") from None
    plan = load_plan(gate, allow_production=allow_production, changes=changes)
    plan = preflight(gate, plan)
    plan = replace(plan, release=release_of(release, commit, os.environ))
    if seed is not None:
        plan = replace(plan, seed=seed)
    _check(plan, lab_defect)
    know_plan(plan, root := suite_root(gate))
    reports = reports or root / "reports"
    options = Options(root=root, reports=reports, lab_defect=lab_defect)
    with held(plan, reports):
        if plan.target.provision is None and not no_check:
            _check_first(plan, root, reports, form)
        try:
            return _try(plan, options, live, form, gate).exit_code
        except OSError as error:
            raise click.ClickException(f"no run folder could be made: {error}") from error


def _try(plan: Plan, options: Options, live: int | None, form: str | None, gate: Path) -> Judgement:
    from stormgate.supervise.attempts import try_plan
    from stormgate.supervise.live.watch import live_page
    from stormgate.supervise.supervisor import Supervisor

    # What a program reads on standard output is left to it.
    say = partial(click.echo, err=form is not None)
    if live is None:
        return try_plan(
            plan, lambda one: Supervisor(one, options, screen_of(one, form, gate)).run(), say
        )
    runs = live_runs(live)
    with live_page(runs, say):
        return try_plan(plan, lambda one: runs.run(one, options, screen_of(one, form, gate)), say)


def screen_of(plan: Plan, form: str | None, gate: Path) -> Screen:
    """Where a run is followed: a line at the end, NDJSON, or a console."""
    import time

    from stormgate.report.console import RunScreen
    from stormgate.report.plain import NdjsonScreen, QuietScreen

    if form == "quiet":
        return QuietScreen(click.echo)
    return (
        NdjsonScreen(click.echo, time.monotonic)
        if form == "json"
        else RunScreen(plan, gate=str(gate))
    )


def _check(plan: Plan, lab_defect: str | None) -> None:
    """What must be there before anything is touched; else exit code 2."""
    from stormgate.net.references import unset_references
    from stormgate.system.limits import open_files, too_few_open_files

    if unset := unset_references(plan.target, os.environ):
        refuse(
            f"target {plan.target.name!r} refers to variables that are not set: {', '.join(unset)}",
            "export them",
        )
    if lab_defect is not None:
        _check_defect(lab_defect)
    if trouble := too_few_open_files(open_files(), _FEWEST_FILES, "a gate"):
        refuse(trouble, "ulimit -n 65536")


def _check_first(plan: Plan, root: Path, reports: Path, form: str | None) -> None:
    from stormgate.commands.check import look

    with contextlib.redirect_stdout(sys.stderr if form is not None else sys.stdout):
        click.echo("looking first whether everything is there (--no-check leaves it out)")
        wrong = look(plan, root, reports)
    if wrong:
        refuse(f"{wrong} wrong, and nothing was broken", "see above, then run it again")


def _check_defect(name: str) -> None:
    from stormgate.lab.defects import defects

    known = sorted(defects())
    if name not in known:
        refuse(f"--lab-defect: there is no defect {name!r}", f"one of {', '.join(known)}")
