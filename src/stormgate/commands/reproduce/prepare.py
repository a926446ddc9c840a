"""Everything a failed run needs to be played again, found and checked before anything starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.commands.common import load_plan, preflight, refuse

if TYPE_CHECKING:
    from stormgate.model import Judgement, Plan, Target
    from stormgate.reproduce.recorded import Recorded
    from stormgate.reproduce.suite import SuitePlace


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """What the command line asks for."""

    folder: Path
    target: Path | None
    places: Sequence[str]
    suite: Path | None
    out: Path | None
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayable:
    """A run that can be played again: what it was, its own judgement, and where it is played."""

    run: Recorded
    judgement: Judgement
    root: Path
    place: SuitePlace
    target: Target


def found(wanted: ReplayRequest) -> Replayable:
    """Read the folder and look for suite and target. What is missing: exit code 2, all of it."""
    from dataclasses import replace

    import stormgate
    from stormgate.evidence import open_run
    from stormgate.reproduce.mapping import parse_map, unmapped
    from stormgate.reproduce.native import moved
    from stormgate.reproduce.recorded import NotReproducibleError, recorded
    from stormgate.reproduce.suite import SuitePlace

    try:
        places = parse_map(wanted.places)
        judgement = stormgate.judge_folder(wanted.folder)
        run = recorded(open_run(wanted.folder), judgement)
    except NotReproducibleError as error:
        told = "\n".join(f"{where}: {what}\n  fix: {fix}" for where, what, fix in error.problems)
        raise click.ClickException(told) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    root = _suite(wanted, run.plan)
    path = _target_path(wanted, run.plan, root)
    target = _target(path)
    if missing := list(unmapped(run, target, places)):
        told = "\n".join(f"{name}: {what}\n  fix: {fix}" for name, what, fix in missing)
        raise click.ClickException(told)
    trials = tuple(replace(one, schedule=moved(one.schedule, places)) for one in run.trials)
    place = SuitePlace(
        folder=(wanted.out or root / "reproduced" / wanted.folder.resolve().name).resolve(),
        locustfile=root / run.plan.load.locustfile,
        target=path,
        tells_whole=target.provision is not None or target.status_url is not None,
    )
    run = replace(run, trials=trials)
    return Replayable(run=run, judgement=judgement, root=root, place=place, target=target)


def written_plan(place: SuitePlace, texts: Mapping[str, str], root: Path) -> tuple[Path, Plan]:
    """Write a suite and read it as any gate, with its files as `root` sees them.
    What is wrong with it: exit code 2, and a folder that was made for it is gone.
    """
    from dataclasses import replace

    from stormgate.documents import suite_root
    from stormgate.reproduce.suite import GATE
    from stormgate.system.files import write_atomically

    new = not place.folder.exists()
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(place.folder / name, text)
    except OSError as error:
        refuse(f"{place.folder} cannot be written: {error.strerror or error}", "--out elsewhere")
    gate = place.folder / GATE
    try:
        plan = preflight(gate, load_plan(gate))
    except click.ClickException:
        if new:
            shutil.rmtree(place.folder, ignore_errors=True)
        raise
    read_from = suite_root(gate)

    def seen(name: str) -> str:
        return Path(os.path.relpath(read_from / name, root)).as_posix()

    faults = tuple(replace(one, experiment=seen(one.experiment)) for one in plan.faults)
    load = replace(plan.load, locustfile=seen(plan.load.locustfile))
    return gate, replace(plan, load=load, faults=faults).sealed()


def differences(known: Replayable) -> Iterator[str]:
    """How this run will differ from that one, in lines for a person."""
    from stormgate.reproduce.mapping import differing_users

    for gap in (*known.run.gaps, *differing_users(known.run.plan, known.target)):
        yield f"{gap.what}: {gap.why} ({gap.source})"
    if (later := _changed_since(known.place.locustfile, known.run.plan.started_utc)) is not None:
        yield f"{known.run.plan.load.locustfile} was changed on {later}, after that run"


def _changed_since(path: Path, started_utc: str) -> str | None:
    try:
        started = datetime.fromisoformat(started_utc)
        changed = datetime.fromtimestamp(path.stat().st_mtime, tz=started.tzinfo)
    except (OSError, ValueError):
        return None
    return changed.isoformat(timespec="seconds") if changed > started else None


def _suite(wanted: ReplayRequest, plan: Plan) -> Path:
    """The folder below which the run's Locust file stands."""
    name = plan.load.locustfile
    here, there = Path.cwd(), wanted.folder.resolve()
    if wanted.suite is not None:
        candidates = [wanted.suite.resolve()]
    else:
        candidates = [here, *here.parents, *there.parents]
    suite = next((one for one in candidates if (one / name).is_file()), None)
    if suite is not None:
        return suite
    raise click.ClickException(
        f"{wanted.folder}: its Locust file {name} is not in {candidates[0]}"
        + ("" if wanted.suite else f", nor above it or above {there}")
        + "\n  fix: run it in the suite of that gate, or name it with --suite"
    )


def _target_path(wanted: ReplayRequest, plan: Plan, root: Path) -> Path:
    if wanted.target is not None:
        path = wanted.target
    elif plan.target.provision is not None and (own := _own_target(root / plan.source)):
        path = own
    else:
        path = root / "targets" / "local.yaml"
    if not path.is_file():
        refuse(
            f"{path}: there is no such target document; the run was on {plan.target.name!r} "
            f"({plan.target.environment})",
            "name one on this machine with --target",
        )
    return path


def _own_target(gate: Path) -> Path | None:
    """The target document that a gate's file names, if both are still there."""
    from stormgate.documents.problems import Problems
    from stormgate.documents.yamlfile import read_documents

    if not gate.is_file():
        return None
    for document in read_documents(gate, Problems()):
        spec = document.data.get("spec") if isinstance(document.data, dict) else None
        name = spec.get("target") if isinstance(spec, dict) else None
        if isinstance(name, str) and (gate.parent / name).is_file():
            return gate.parent / name
    return None


def _target(path: Path) -> Target:
    from stormgate.documents import DocumentErrors, load_target

    try:
        return load_target(path)
    except DocumentErrors as errors:
        raise click.ClickException(str(errors)) from None
