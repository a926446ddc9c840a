"""`stormgate use TARGET`: what plain `chaos run` acts on in this suite."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from stormgate.model import Target


@click.command(short_help="Choose what plain `chaos run` acts on in this suite.")
@click.argument("target", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Folder of the running lab, for a target that is a lab. [default: of `lab up`]",
)
@click.option("--forget", is_flag=True, help="Choose none any more.")
def command(target: Path | None, state: Path | None, forget: bool) -> None:
    """Choose TARGET for this suite: `chaos run experiments/x.yaml` then acts on it, from the
    suite's root, without anything in the environment.

    TARGET is a target document; with `provision: lab` it is the lab that runs (`stormgate lab up`).
    Or a resolved target, such as a lab's topology.json. Nothing is contacted, nothing broken.
    """
    from stormgate.documents.problems import DocumentErrors, suite_root
    from stormgate.faults.used import forget_used, write_used

    if (target is None) == (not forget):
        raise click.UsageError("name a target, or --forget")
    try:
        if target is None:
            root = suite_root(Path.cwd() / "suite")
            click.echo("forgotten" if forget_used(root) else "there was none")
            return
        root = suite_root(Path.cwd() / "suite" if target.suffix == ".json" else target)
        chosen, source = resolve(target, state)
        path = write_used(root, chosen, source)
    except (DocumentErrors, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        f"{chosen.name}: {len(chosen.components)} components, from {os.path.relpath(source)}"
    )
    where = "" if root == Path.cwd().resolve() else f"cd {os.path.relpath(root)} && "
    click.echo(f"{where}chaos run experiments/….yaml acts on it (it stands in {path})")
    if chosen.environment == "production":
        click.echo("it is production: chaos run also needs STORMGATE_ALLOW_PRODUCTION=1")


def resolve(path: Path, state: Path | None) -> tuple[Target, Path]:
    """The target with its addresses, and the file they come from. Raises DocumentErrors, OSError,
    ValueError, ClickException.
    """
    from stormgate.documents import load_target

    if path.suffix == ".json":
        return _resolved(path), path
    target = load_target(path)
    if target.provision is None:
        return target, path
    from stormgate.commands.lab import default_state
    from stormgate.lab.runtime.launch import running_pid

    state = (state or default_state(os.environ)).resolve()
    if running_pid(state) is None:
        raise click.ClickException(
            f"{path} is a lab, and none runs in {state}: start it with `stormgate lab up`"
        )
    topology = state / "topology.json"
    chosen = _resolved(topology)
    if chosen.name != target.name:
        raise click.ClickException(
            f"the lab in {state} is {chosen.name!r}, not {target.name!r}: start another with "
            f"`stormgate lab up --target {path} --state FOLDER`, and name its folder here"
        )
    return chosen, topology


def _resolved(path: Path) -> Target:
    from stormgate.model import from_json

    try:
        return from_json(Target, json.loads(path.read_bytes()))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise click.ClickException(f"{path}: not a resolved target: {reason}") from None
