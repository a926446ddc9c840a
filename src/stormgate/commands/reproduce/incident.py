"""`stormgate reproduce INCIDENT.yaml`: what a person saw, played on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stormgate.commands.common import load_plan, refuse
from stormgate.commands.hold import held_target
from stormgate.model import Verdict

if TYPE_CHECKING:
    from stormgate.model import Target
    from stormgate.reproduce.incident.read import Incident
    from stormgate.reproduce.play.player import Played, Player
    from stormgate.reproduce.play.resolve import LanePlan
    from stormgate.reproduce.schedule import Schedule

_RECOVERY_S = 10.0
# Each change is proven before the next in a gate; steps that are shorter become longer there.
_PROVEN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRequest:
    """What the command line asks for."""

    path: Path
    target: Path | None
    places: Sequence[str]
    out: Path | None
    reports: Path | None
    speed: float
    loop: bool
    hold: bool
    export: str | None


def reproduce_incident(wanted: IncidentRequest) -> int:
    """Play it, judge it where it names a gate, or write it for another tool; the exit code."""
    from stormgate.documents import suite_root

    incident = _read(wanted.path)
    target, path = _target(wanted, incident)
    schedule, lanes = _on(wanted, incident, target)
    if wanted.export is not None:
        return _export(wanted, incident, schedule, lanes, target)
    for line in incident.fits:
        click.echo(f"series {line}", err=True)
    for gap in schedule.gaps:
        where = f" ({gap.source})" if gap.source else ""
        click.echo(f"not in it: {gap.what}: {gap.why}{where}", err=True)
    if incident.gate is not None and not (wanted.loop or wanted.hold):
        return _judged(wanted, incident, schedule, path)
    if target.provision is not None:
        fix = "start it and choose it: stormgate lab up, stormgate use TARGET; or name a gate"
        refuse(f"target {target.name!r} is a lab that is not running", fix)
    reports = (wanted.reports or Path("reports")).resolve()
    # A target's own paths (pid files, commands that start something) are those of its suite.
    os.chdir(suite_root(path))
    return _play(replace(wanted, reports=reports), incident, schedule, lanes, target)


def _read(path: Path) -> Incident:
    from stormgate.documents import DocumentErrors
    from stormgate.reproduce.incident.read import Incident, read_incident
    from stormgate.reproduce.schedule import ScheduleError, from_json

    try:
        if path.suffix == ".json":
            schedule = from_json(json.loads(path.read_bytes()))
            name = schedule.name or path.stem
            return Incident(name=name, title=name, path=path, schedule=schedule)
        return read_incident(path)
    except DocumentErrors as errors:
        raise click.ClickException(str(errors)) from None
    except (ScheduleError, ValueError, OSError) as error:
        raise click.ClickException(f"{path}: {error}") from None


def _target(wanted: IncidentRequest, incident: Incident) -> tuple[Target, Path]:
    """The target, and the document it is in: that of the command line, of the incident, of its
    gate, the one that `stormgate use` chose, or targets/local.yaml.
    """
    from stormgate.documents import DocumentErrors, load_target
    from stormgate.faults.errors import NoTarget
    from stormgate.faults.used import find_used, read_used

    named = wanted.target or incident.target
    used = find_used(Path.cwd())
    try:
        chosen = read_used(used) if used is not None else None
        if named is None and incident.gate is not None:
            return load_plan(incident.gate).target, incident.gate
        if named is None and chosen is not None and used is not None:
            return chosen, used
        path = named or Path("targets/local.yaml")
        if not path.is_file():
            refuse(f"{path}: there is no such target document", "name one with --target")
        target = load_target(path)
    except (DocumentErrors, NoTarget) as error:
        raise click.ClickException(str(error)) from None
    # A lab has its addresses once it runs.
    if target.provision is not None and chosen is not None and chosen.name == target.name:
        return chosen, path
    return target, path


def _on(
    wanted: IncidentRequest, incident: Incident, target: Target
) -> tuple[Schedule, list[LanePlan]]:
    """The schedule as it is played on the target, and its lanes there. Exit code 2 with all that
    the target lacks.
    """
    from stormgate.reproduce.mapping import parse_map
    from stormgate.reproduce.native import moved
    from stormgate.reproduce.play.resolve import resolve
    from stormgate.reproduce.schedule import ScheduleError

    try:
        schedule = moved(incident.schedule, parse_map(wanted.places))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not schedule.segments:
        told = "; ".join(f"{gap.what}: {gap.why}" for gap in schedule.gaps)
        refuse(f"{incident.path}: nothing of it can be played ({told})", "say what else was seen")
    schedule, _ = schedule.compressed(wanted.speed)
    if target.provision is not None:
        return schedule, []
    try:
        return schedule, resolve(schedule, target)
    except ScheduleError as error:
        found = []
        for at, what, fix in error.problems:
            source = schedule.segments[at].source if at is not None else ""
            found.append(f"{source or incident.path}: {what}; {fix}")
        raise click.ClickException("\n".join(found)) from None


def _export(
    wanted: IncidentRequest,
    incident: Incident,
    schedule: Schedule,
    lanes: Sequence[LanePlan],
    target: Target,
) -> int:
    from stormgate.reproduce.export import export
    from stormgate.system.files import write_atomically

    try:
        tells_whole = target.provision is not None or target.status_url is not None
        made = export(
            schedule, lanes, str(wanted.export), title=incident.title, tells_whole=tells_whole
        )
    except ValueError as error:
        raise click.ClickException(f"{incident.path}: {error}") from None
    for gap in made.gaps:
        click.echo(f"not in it: {gap.what}: {gap.why}", err=True)
    if wanted.out is None:
        click.echo(made.text, nl=False)
    else:
        write_atomically(wanted.out, made.text)
    return 0


def _judged(wanted: IncidentRequest, incident: Incident, schedule: Schedule, target: Path) -> int:
    """The incident as the only fault of the gate it names."""
    from stormgate.commands.reproduce.prepare import written_plan
    from stormgate.commands.reproduce.run import run_gate
    from stormgate.documents import suite_root
    from stormgate.reproduce import suite
    from stormgate.reproduce.incident.judged import judged_during
    from stormgate.reproduce.recorded import Trial

    assert incident.gate is not None  # noqa: S101 - asked by the only caller
    plan, root = load_plan(incident.gate), suite_root(incident.gate)
    if target == incident.gate:
        target = _named_target(incident.gate)
    recovery_s = max([_RECOVERY_S, *(fault.recovery_s for fault in plan.faults)])
    guard = replace(plan.guard, max_fault_s=max(plan.guard.max_fault_s, 2 * schedule.length_s + 60))
    place = suite.SuitePlace(
        folder=(wanted.out or root / "reproduced" / incident.name).resolve(),
        locustfile=root / plan.load.locustfile,
        target=target,
        tells_whole=plan.target.provision is not None or plan.target.status_url is not None,
    )
    trial = Trial(name=incident.name, schedule=schedule, recovery_s=recovery_s)
    said = f"{incident.title}: {incident.path.name} under {incident.gate.name}"
    objectives, widened = judged_during(plan.objectives)
    texts = suite.texts(
        replace(plan, guard=guard),
        [trial],
        place,
        prefix="incident",
        said=said,
        objectives=objectives,
    )
    gate, written = written_plan(place, texts, root)
    if widened:
        told = f"{', '.join(widened)} looked at calm phases alone; now at the incident, too"
        click.echo(f"not as it was: {told}", err=True)
    short = min(segment.length_s for segment in schedule.segments)
    if short < _PROVEN_S:
        told = f"its shortest step, {short:g} s, becomes longer: a gate proves each change"
        click.echo(f"not as it was: {told}", err=True)
    click.echo(f"playing {incident.path} under {gate}")
    judgement, _ = run_gate(written, root, gate, None)
    return judgement.exit_code


def _named_target(gate: Path) -> Path:
    from stormgate.documents.problems import Problems
    from stormgate.documents.yamlfile import read_documents

    specs = [
        one.data.get("spec")
        for one in read_documents(gate, Problems())
        if isinstance(one.data, dict)
    ]
    names = [one.get("target") for one in specs if isinstance(one, dict)]
    if not names or not isinstance(names[0], str):
        refuse(f"{gate} names no target", "name one with --target")
    return gate.parent / str(names[0])


def _play(
    wanted: IncidentRequest,
    incident: Incident,
    schedule: Schedule,
    lanes: Sequence[LanePlan],
    target: Target,
) -> int:
    from stormgate.evidence.folder import create_run_folder
    from stormgate.faults.context import make_context
    from stormgate.faults.errors import ChaosError
    from stormgate.reproduce.play.player import Player

    reports = wanted.reports or Path("reports")
    with held_target(target, reports):
        now = datetime.now(UTC)
        text = json.dumps(schedule.to_json(), indent=2, ensure_ascii=False) + "\n"
        try:
            folder = create_run_folder(
                reports, incident.name, now=now, first_files={"schedule.json": text}, latest=False
            )
            context = make_context(target, folder, fault=incident.name, seed=0)
            player = Player(context, schedule, lanes, _say)
            player.prepare()
        except (ChaosError, OSError) as error:
            raise click.ClickException(f"{error}\n  fix: stormgate check") from error
        with _ends_by_signal(player):
            click.echo(f"playing {incident.title}: {_length(schedule, wanted)} ({folder})")
            played = player.play(loop=wanted.loop, hold=_holding(player) if wanted.hold else None)
    return _told(played, wanted, folder)


def _length(schedule: Schedule, wanted: IncidentRequest) -> str:
    if wanted.hold:
        return "until its worst moment"
    faults = len(schedule.faults)
    again = ", again and again" if wanted.loop else ""
    return f"{faults} fault{'s' if faults != 1 else ''} in {schedule.length_s:g} s{again}"


def _say(what: str) -> None:
    click.echo(what, err=True)


def _holding(player: Player) -> Any:
    def hold(second: float) -> None:
        click.echo(f"holding at {second:g} s, the worst moment:")
        for lane in player.lanes:
            if lane.standing is None:
                continue
            how = ", ".join(f"{k} {v}" for k, v in lane.standing.params.items())
            click.echo(f"  {lane.plan.name}{f' ({how})' if how else ''}")
        click.echo("connect to:")
        for one in _doors(player):
            click.echo(f"  {one}")
        click.echo("ctrl-C takes everything back")
        while not player.context.stopping.wait(0.2):
            pass

    return hold


def _doors(player: Player) -> Iterator[str]:
    """What a person who debugs can connect to: the links that are broken, and what runs."""
    for lane in player.lanes:
        part, facts = lane.plan.part, lane.record
        if lane.standing is None:
            continue
        if "listen" in facts:
            env = part.attributes.get("env")
            name = f"{env}={facts['listen']}" if env else str(facts["listen"])
            yield f"{name} ({part.name}, to {facts['upstream']}; Toxiproxy at {facts['url']})"
        elif part.observe is not None:
            yield f"{part.observe.address} ({part.name}, {lane.plan.mode})"


@contextlib.contextmanager
def _ends_by_signal(player: Player) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the playing, once: whoever is impatient must not end the undoing."""

    def end(*_: object) -> None:
        if not player.taking_back and not player.context.stopping.is_set():
            raise KeyboardInterrupt

    before = {one: signal.signal(one, end) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _told(played: Played, wanted: IncidentRequest, folder: Path) -> int:
    if played.not_undone:
        click.echo(f"Error: not taken back: {played.not_undone}", err=True)
        click.echo(f"  fix: stormgate restore {folder}", err=True)
        return Verdict.DIRTY.exit_code
    for problem in played.problems:
        click.echo(f"not as written: {problem}", err=True)
    times = f"{played.rounds} times, " if played.rounds > 1 else ""
    click.echo(
        f"played {times}{len(played.moves)} changes, at most {played.late_ms:g} ms late, "
        f"{played.seen} seen to act; everything is taken back ({folder})"
    )
    if played.stopped and not (wanted.loop or wanted.hold):
        return Verdict.ABORTED.exit_code
    return Verdict.INCONCLUSIVE.exit_code if played.problems else 0
