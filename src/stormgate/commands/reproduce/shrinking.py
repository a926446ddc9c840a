"""`stormgate reproduce RUN --shrink`: from everything that was broken to what has to be."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stormgate.commands.common import refuse
from stormgate.commands.hold import held
from stormgate.commands.reproduce.prepare import Replayable, written_plan

if TYPE_CHECKING:
    from stormgate.model import Finding, Plan
    from stormgate.reproduce.shrink.case import Case
    from stormgate.reproduce.shrink.search import Shrunk

RESULT = "shrunk.json"
SCHEMA = "stormgate.shrunk/1"


def shrink(known: Replayable, plan: Plan, minutes: float, finding: Finding, flaky: float) -> int:
    """Search, write the cause as a gate of its own, and say in three lines what it is. Exit code 1:
    a cause that fails again and again; 0: nothing fails here; 3: time was over, or it was not
    decided.
    """
    from stormgate.judge.registry import kinds
    from stormgate.report.plain import QuietScreen
    from stormgate.reproduce.live import Bench, LiveOracle
    from stormgate.reproduce.shrink.case import Case
    from stormgate.reproduce.shrink.journal import JOURNAL, OtherSearchError, ShrinkJournal
    from stormgate.reproduce.shrink.search import Limits, Search
    from stormgate.reproduce.standing import StandingTarget
    from stormgate.supervise.children import TargetError
    from stormgate.supervise.hush import know_plan

    objective = next(one for one in plan.objectives if one.name == finding.name)
    kind = kinds()[objective.kind]
    spec = kind.spec_model.model_validate(objective.spec)
    whole = Case(
        trials=known.run.trials,
        populations=tuple(one.name for one in plan.target.populations),
        rate_per_s=plan.load.rate_per_s,
        tags=plan.load.tags,
    )
    of = {"run": known.run.folder.name, "objective": finding.name, "case": whole.key}
    try:
        journal = ShrinkJournal(known.place.folder / JOURNAL, of)
    except OtherSearchError as error:
        refuse(str(error), "another folder with --out, or remove it")
    if journal.resumed:
        click.echo(f"going on after {journal.resumed} tries")
    know_plan(plan, known.root)
    tries = known.place.folder / "tries"
    bench = Bench(
        plan=plan,
        objective=objective,
        root=known.root,
        folder=tries,
        until_s=time.monotonic() + minutes * 60,
        alone_s=sum(one.schedule.length_s for one in known.run.trials),
        tells_whole=known.place.tells_whole,
    )
    defect = known.run.lab_defect if plan.target.provision is not None else None
    standing = StandingTarget(plan.target, tries, known.root, defect, click.echo)
    oracle = LiveOracle(bench, standing, QuietScreen(lambda _: None), click.echo)
    limits = Limits(length_s=max(0.5, kind.allowed_outage_s(spec) + 0.5), flaky=flaky)
    click.echo(f"looking for the least that makes {finding.name} fail, within {minutes:g} minutes")
    began = time.monotonic()
    with held(plan, tries):
        try:
            found = Search(whole, oracle.ask, journal, limits).run()
        except TargetError as error:
            raise click.ClickException(str(error)) from None
        finally:
            standing.end()
    took_s = time.monotonic() - began
    files = _cause(known, plan, found.case, finding) if found.case.units else None
    _write(known.place.folder / RESULT, found, finding, took_s, oracle.tries)
    _tell(found, finding, files, took_s, oracle.tries)
    if found.confirmed:
        return 1
    return 0 if found.why.endswith("together holds") else 3


def chosen(known: Replayable, name: str | None) -> Finding:
    """The objective to shrink by: the one named, else the first that failed. One that did not: exit
    code 2.
    """
    failed = {one.name: one for one in known.run.failed}
    if name is None:
        return next(iter(failed.values()))
    if name not in failed:
        refuse(f"objective {name!r} did not fail in that run", f"one of {', '.join(failed)}")
    return failed[name]


def _cause(known: Replayable, plan: Plan, case: Case, finding: Finding) -> Path:
    """The cause as a gate that fails, beside the tries: the gate's file."""
    from stormgate.reproduce import suite
    from stormgate.reproduce.live import hypothesis, looks_at, share_of

    place = replace(known.place, folder=known.place.folder / "cause")
    objective = next(one for one in plan.objectives if one.name == finding.name)
    kept = looks_at(objective, case) or objective
    share = share_of(plan.target, case)
    rate_per_s = case.rate_per_s * share
    users = max(round(plan.load.users * rate_per_s / plan.load.rate_per_s), 2)
    load = replace(plan.load, rate_per_s=round(rate_per_s, 2), users=users, tags=case.tags)
    texts: dict[str, str] = {}
    if len(case.populations) < len(plan.target.populations):
        texts["target.yaml"] = _target_text(known.place.target, case.populations)
        place = replace(place, target=place.folder / "target.yaml")
    longest_s = max(one.schedule.length_s for one in case.trials)
    texts |= suite.texts(
        replace(plan, load=load),
        case.trials,
        place,
        prefix="cause",
        said=f"The least that makes {finding.name} fail, of {known.run.folder.name}.",
        objectives=(kept,),
    )
    # A gate has its objective; Chaos Toolkit alone has nothing but a hypothesis.
    if probes := hypothesis(kept, longest_s):
        for trial in case.trials:
            texts[f"chaos-{suite.file_of(trial)}"] = suite.experiment_text(
                trial, place, f"{finding.name} as a hypothesis: for chaos run.", probes
            )
    if place.folder.exists():
        shutil.rmtree(place.folder)
    gate, _ = written_plan(place, texts, known.root)
    return gate


def _target_text(path: Path, populations: tuple[str, ...]) -> str:
    """The target document with these populations alone, as shares of each other."""
    from stormgate.documents.problems import Problems
    from stormgate.documents.values import share
    from stormgate.documents.yamlfile import read_documents
    from stormgate.reproduce.suite import yaml_text

    data: dict[str, Any] = json.loads(json.dumps(read_documents(path, Problems())[0].data))
    kept = [one for one in data["spec"]["populations"] if one["name"] in populations]
    whole = sum(share(one["share"]) for one in kept)
    for one in kept:
        one["share"] = round(share(one["share"]) / whole, 6)
    kept[-1]["share"] = round(1 - sum(one["share"] for one in kept[:-1]), 6)
    data["spec"]["populations"] = kept
    return yaml_text(data, f"{path.name} with the users that it takes.")


def _write(path: Path, found: Shrunk, finding: Finding, took_s: float, tries: int) -> None:
    from stormgate.system.files import write_atomically

    segments = [
        {"trial": trial.name, "fault": one.fault, "where": one.where, "mode": one.mode}
        | {"start_s": one.start_s, "length_s": one.length_s, "params": dict(one.params)}
        for trial in found.case.trials
        for one in trial.schedule.segments
    ]
    data = {
        "schema": SCHEMA,
        "objective": finding.name,
        "confirmed": found.confirmed,
        "ended": found.ended,
        "needs_faults": found.needs_faults,
        "flaky": found.flaky,
        "why": found.why,
        "tries": tries,
        "took_s": round(took_s, 1),
        "segments": segments,
        "least": None if found.least is None else found.least.to_json(),
        "populations": list(found.case.populations),
        "rate_per_s": found.case.rate_per_s,
        "tags": list(found.case.tags),
    }
    write_atomically(path, json.dumps(data, indent=1) + "\n")


def _tell(found: Shrunk, finding: Finding, gate: Path | None, took_s: float, tries: int) -> None:
    from stormgate.reproduce.suite import in_words

    state = "cause" if found.confirmed else f"not confirmed ({found.why}); the least so far"
    click.echo(f"{state}, after {tries} tries in {took_s / 60:.1f} minutes:")
    words = "; ".join(in_words(one).replace("\n", "; ") for one in found.case.trials)
    click.echo(f"  {words or 'no fault: load alone makes it fail'}")
    click.echo(
        f"  under {found.case.rate_per_s:g} requests/s of all users, of whom "
        f"{', '.join(found.case.populations) or 'all'} ask"
    )
    click.echo(f"  makes {finding.name} fail")
    if gate is not None:
        click.echo(f"again: stormgate gate {gate}")
