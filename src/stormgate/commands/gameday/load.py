"""`stormgate load`: the users of a target, with evidence, while people break things."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.commands.common import LIVE, live_runs, load_plan, preflight, refuse
from stormgate.commands.gameday.chosen import BY, REPORTS, TARGET, person, seconds, the_target
from stormgate.commands.hold import held

if TYPE_CHECKING:
    from stormgate.model import Plan, Target
    from stormgate.supervise.children import RunningTarget
    from stormgate.supervise.hands.drive import Driving
    from stormgate.supervise.terms import Options, Screen


@click.command("load", short_help="Drive a target's users, with evidence, while people break it.")
@click.argument(
    "source",
    required=False,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="[GATE|TARGET]",
)
@click.option(
    "--for",
    "length",
    default="10m",
    show_default=True,
    metavar="TIME",
    help="How long, without the warmup.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Another rate than the gate's, requests/s.",
)
@click.option(
    "--web",
    type=click.IntRange(0, 65535),
    metavar="[PORT]",
    is_flag=False,
    flag_value=0,
    help="With Locust's own web page, on this machine.",
)
@LIVE
@click.option("--allow-production", is_flag=True, help="Needed for a target that is production.")
@click.option("-q", "--quiet", "form", flag_value="quiet", help="One line, at the end.")
@click.option("--json", "form", flag_value="json", help="What happens as NDJSON, an object a line.")
@TARGET
@REPORTS
@BY
def command(  # noqa: PLR0913 - one for each option of the command line
    source: Path | None,
    *,
    length: str,
    rate: float | None,
    web: int | None,
    live: int | None,
    allow_production: bool,
    form: str | None,
    target_file: Path | None,
    reports: Path | None,
    by: str | None,
) -> int:
    """Send the users of a gate to its target for a while and record what they meet. Whatever
    `stormgate inject` breaks meanwhile becomes a fault of this run, with its own windows.

    GATE says who the users are, where, and what is asked; a TARGET, or nothing, stands for the only
    gate of the suite on that target. The run is judged at its end, and again by `stormgate judge`;
    the gate's own faults were left out, so it is never a PASS.
    """
    from stormgate.commands.gate import screen_of
    from stormgate.documents import suite_root
    from stormgate.documents.trial.given import parse_changes
    from stormgate.supervise.hands.drive import Driving
    from stormgate.supervise.hush import know_plan
    from stormgate.supervise.terms import Options

    for_s = seconds("--for", length)
    if not for_s:
        raise click.UsageError("--for: say how long, as in 10m")
    gate = source if source is not None and _is_gate(source) else None
    target, standing = standing_target(gate, source if gate is None else None, target_file)
    gate = gate or _gate_of(target)
    changes = parse_changes((), rate, ())
    plan = load_plan(gate, allow_production=allow_production, changes=changes)
    plan = replace(preflight(gate, plan), target=target)
    if web == 0:
        from stormgate.supervise.children import free_port

        web = free_port()
    know_plan(plan, root := suite_root(gate))
    reports = reports or root / "reports"
    driving = Driving(for_s=for_s, by=person(by), web_port=web)
    if web is not None:
        click.echo(f"Locust's page: http://127.0.0.1:{web}/", err=form is not None)
    with held(plan, reports):
        try:
            options = Options(root=root, reports=reports, standing=standing)
            return _drive(plan, options, screen_of(plan, form, gate), driving, live, form)
        except OSError as error:
            raise click.ClickException(f"no run folder could be made: {error}") from error


def _drive(
    plan: Plan,
    options: Options,
    screen: Screen,
    driving: Driving,
    live: int | None,
    form: str | None,
) -> int:
    from stormgate.supervise.hands.drive import Drive
    from stormgate.supervise.live.watch import live_page

    if live is None:
        return Drive(plan, options, screen, driving).run()[0].exit_code
    runs = live_runs(live)
    with live_page(runs, lambda text: click.echo(text, err=form is not None)):
        made = runs.run(plan, options, screen, lambda p, o, s: Drive(p, o, s, driving))
    return made[0].exit_code


def standing_target(
    gate: Path | None, document: Path | None, chosen: Path | None
) -> tuple[Target, RunningTarget | None]:
    """The target, which somebody else started: that of `--target`, of the document, of the gate; of
    a lab the one that runs, which is not started another time (and how to tell that it is gone).
    """
    from stormgate.supervise.hands.gone import standing_lab

    if chosen is not None or document is not None:
        found = the_target(chosen or document)
    elif gate is None:
        found = the_target(None)
    else:
        found = load_plan(gate, allow_production=True).target
        if found.provision is not None:
            wanted, found = found.name, the_target(None)
            if found.name != wanted:
                refuse(
                    f"{gate} is for {wanted!r}, and what runs here is {found.name!r}",
                    "stormgate use TARGET, or --target",
                )
    return standing_lab(found)


def _is_gate(path: Path) -> bool:
    from stormgate.documents.problems import Problems
    from stormgate.documents.yamlfile import read_documents

    if path.suffix == ".json" or not path.is_file():
        return path.suffix != ".json"  # what is not there is told as a gate that is not there
    found = read_documents(path, Problems())
    kinds = {doc.data.get("kind") for doc in found if isinstance(doc.data, dict)}
    return "Target" not in kinds or "ReleaseGate" in kinds


def _gate_of(target: Target) -> Path:
    """The only gate of this suite on a target. Ends with exit code 2 for none, or several."""
    from stormgate.documents.problems import Problems, suite_root
    from stormgate.documents.yamlfile import read_documents

    root = suite_root(Path.cwd() / "suite")
    found = []
    for path in sorted((root / "slas").glob("*.yaml")):
        for document in read_documents(path, Problems()):
            spec = document.data.get("spec") if isinstance(document.data, dict) else None
            if not isinstance(spec, dict) or document.data.get("kind") != "ReleaseGate":
                continue
            named = path.parent / str(spec.get("target"))
            heads = read_documents(named, Problems()) if named.is_file() else []
            if any(_name(head.data) == target.name for head in heads):
                found.append(os.path.relpath(path))
    if len(found) != 1:
        told = ", ".join(found) or f"none in {root / 'slas'}"
        refuse(f"which users? Gates on target {target.name!r}: {told}", "name one of them")
    return Path(found[0])


def _name(data: object) -> object:
    metadata = data.get("metadata") if isinstance(data, dict) else None
    return metadata.get("name") if isinstance(metadata, dict) else None
