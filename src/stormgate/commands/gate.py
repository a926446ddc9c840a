"""`stormgate gate`: the whole trial."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.commands.common import load_plan, preflight, refuse
from stormgate.commands.hold import held

if TYPE_CHECKING:
    from stormgate.model import Plan

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
def command(
    gate: Path,
    reports: Path | None,
    lab_defect: str | None,
    seed: int | None,
    allow_production: bool,
    no_check: bool,
) -> int:
    """Run the ReleaseGate in GATE against its target.

    Prints the phases as they pass, then the objectives with their verdicts, and leaves the evidence
    in a run folder.
    """
    from dataclasses import replace

    from stormgate.documents import suite_root
    from stormgate.net.references import unset_references
    from stormgate.report.console import RunScreen
    from stormgate.supervise.hush import know_plan
    from stormgate.supervise.supervisor import Supervisor
    from stormgate.supervise.terms import Options
    from stormgate.system.limits import open_files, too_few_open_files

    plan = preflight(gate, load_plan(gate, allow_production=allow_production))
    if unset := unset_references(plan.target, os.environ):
        refuse(
            f"target {plan.target.name!r} refers to variables that are not set: {', '.join(unset)}",
            "export them",
        )
    if seed is not None:
        plan = replace(plan, seed=seed)
    if lab_defect is not None:
        _check_defect(lab_defect)
    if trouble := too_few_open_files(open_files(), _FEWEST_FILES, "a gate"):
        refuse(trouble, "ulimit -n 65536")
    know_plan(plan, root := suite_root(gate))
    reports = reports or root / "reports"
    options = Options(root=root, reports=reports, lab_defect=lab_defect)
    with held(plan, reports):
        if plan.target.provision is None and not no_check:
            _check_first(plan, root, reports)
        try:
            judgement, _ = Supervisor(plan, options, RunScreen(plan)).run()
        except OSError as error:
            raise click.ClickException(f"no run folder could be made: {error}") from error
    return judgement.exit_code


def _check_first(plan: Plan, root: Path, reports: Path) -> None:
    from stormgate.commands.check import look

    click.echo("looking first whether everything is there (--no-check leaves it out)")
    if wrong := look(plan, root, reports):
        refuse(f"{wrong} wrong, and nothing was broken", "see above, then run it again")


def _check_defect(name: str) -> None:
    from stormgate.lab.defects import defects

    known = sorted(defects())
    if name not in known:
        refuse(f"--lab-defect: there is no defect {name!r}", f"one of {', '.join(known)}")
