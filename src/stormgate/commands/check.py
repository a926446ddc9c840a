"""`stormgate check`: what only the target can tell, before a gate runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.commands.common import load_plan, preflight, refuse

if TYPE_CHECKING:
    from stormgate.model import Component, Plan

_WIDEST = 34
_TO_LOOK = (
    "# Beside that, only for who runs `stormgate restore --cluster` (and --watch): to find marks."
)


@click.command(short_help="Look whether everything is there for a gate, without breaking anything.")
@click.argument("gate", required=False, type=click.Path(path_type=Path))
@click.option(
    "--reports",
    type=click.Path(path_type=Path),
    help="Where run folders will go. [default: reports/ beside the gate's folder]",
)
@click.option(
    "--allow-production", is_flag=True, help="Needed for a target whose environment is production."
)
@click.option(
    "--permissions",
    is_flag=True,
    help="Print what the gate's faults need to be allowed (roles, policies), and ask nobody.",
)
def command(
    gate: Path | None, reports: Path | None, allow_production: bool, permissions: bool
) -> int:
    """The preflight of GATE (default: the only one in slas/): its documents, this machine, every
    edge, every component and what breaks it and takes that back, and each route once by the gate's
    own load at a low rate.

    `stormgate gate` looks at the same first. Exit code 0 if nothing is wrong, else 2.
    """
    from stormgate.documents import suite_root
    from stormgate.model import EXIT_USAGE
    from stormgate.supervise.hush import know_plan

    gate = gate or only_gate(Path("slas"))
    plan = preflight(gate, load_plan(gate, allow_production=allow_production))
    know_plan(plan, root := suite_root(gate))
    if permissions:
        click.echo(needed(plan, root) or "# no fault of this gate has to be allowed by a platform")
        return 0
    click.echo(f"{plan.gate} on {plan.target.name}")
    wrong = look(plan, root, reports or root / "reports")
    click.echo(f"{wrong} wrong" if wrong else "nothing is wrong: stormgate gate can decide")
    return EXIT_USAGE if wrong else 0


def needed(plan: Plan, root: Path) -> str:
    """What the gate's faults need to be allowed, by each backend in its platform's own words."""
    from stormgate.documents.trial.asked import asked_modes
    from stormgate.faults import backends

    asked = asked_modes(plan, root)
    wanted: dict[str, list[tuple[Component, list[str]]]] = {}
    for part in plan.target.components:
        if modes := asked.get(part.name):
            wanted.setdefault(part.backend, []).append((part, sorted(modes)))
    texts = []
    for name, parts in sorted(wanted.items()):
        texts.append(backends.get(name).permissions(parts))
        if more := backends.get(name).permissions_to_look(plan.target):
            texts.append(f"---\n{_TO_LOOK}\n{more}")
    return "\n".join(text.rstrip() for text in texts if text)


def look(plan: Plan, root: Path, reports: Path) -> int:
    """Print each row as it becomes known; how many are wrong."""
    from stormgate.supervise.checks import Suite, look_before

    wrong = 0
    for row in look_before(plan, Suite(root, reports)):
        wrong += not row.ok
        verdict = "ok   " if row.ok else "wrong"
        style = {"fg": "green"} if row.ok else {"fg": "red", "bold": True}
        click.echo(f"  {click.style(verdict, **style)}  {row.what:<{_WIDEST}}  {row.saw}")
        if not row.ok:
            click.echo(f"  {'':5}  {'':<{_WIDEST}}  fix: {row.fix}")
    return wrong


def only_gate(folder: Path) -> Path:
    """The one file in a folder with a ReleaseGate. None or several: exit code 2."""
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    found = [file for file in files if "kind: ReleaseGate" in file.read_text(errors="replace")]
    if not found:
        refuse(f"there is no gate in {folder}/", "name one: stormgate check slas/release.yaml")
    if len(found) > 1:
        names = ", ".join(str(file) for file in found)
        refuse(f"there are several gates: {names}", f"name one: stormgate check {found[0]}")
    return found[0]
