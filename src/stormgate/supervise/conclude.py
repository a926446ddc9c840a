"""The first and the last words of a run: reports that say INCONCLUSIVE before it starts, and the
judged ones at its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stormgate.evidence.manifest import write_manifest
from stormgate.model import Event, Judgement, Plan, Verdict, to_json
from stormgate.supervise import hush
from stormgate.system.files import write_atomically


def first_files(plan: Plan) -> dict[str, str]:
    """plan.json and the INCONCLUSIVE reports: a run that dies now must leave neither a green nor a
    gap.
    """
    from stormgate.report import initial

    return {"plan.json": _plan_text(plan), **initial(plan)}


def write_plan(folder: Path, plan: Plan) -> None:
    """Replace plan.json, once the target's addresses are known."""
    write_atomically(folder / "plan.json", _plan_text(plan))


def _plan_text(plan: Plan) -> str:
    return json.dumps(to_json(plan), indent=1) + "\n"


def conclude(folder: Path, plan: Plan) -> Judgement:
    """Judge a finished folder, write its reports and seal it. Judging or reporting that fails is
    itself an ERROR, never a gap.
    """
    try:
        judgement = judge_folder(folder)
    except Exception as error:
        judgement = harness_error(plan, f"the judge failed: {type(error).__name__}: {error}")
    judgement = hush.hushed(judgement)
    try:
        write_reports(folder, judgement)
        hush.sweep_logs(folder)
        write_manifest(folder)
    except Exception as error:
        why = f"the reports could not be written: {type(error).__name__}: {error}"
        judgement = harness_error(
            plan, why if judgement.verdict is Verdict.PASS else f"{why}; judged {judgement.verdict}"
        )
    return judgement


def harness_error(plan: Plan, why: str) -> Judgement:
    """The judgement when the harness itself failed."""
    return Judgement(
        gate=plan.gate,
        verdict=Verdict.ERROR,
        exit_code=Verdict.ERROR.exit_code,
        plan_digest=plan.digest,
        release=plan.release,
        short=plan.short,
        attempts=plan.attempts,
        proofs=plan.proofs,
        objectives=(),
        why=why,
    )


def judge_folder(folder: Path, plan: Plan | None = None) -> Judgement:
    """The judgement over a run folder, by its own plan or by another. Raises FileNotFoundError for
    no folder.
    """
    import stormgate

    return stormgate.judge_folder(folder, plan)


def write_reports(folder: Path, judgement: Judgement) -> None:
    """verdict.json first, so that a failing report cannot hide the verdict."""
    from stormgate import report
    from stormgate.evidence import open_run
    from stormgate.evidence.past import past_runs

    run = open_run(folder)
    write_atomically(folder / "verdict.json", report.verdict_json(judgement))
    write_atomically(folder / "junit.xml", report.junit_xml(judgement, run))
    write_atomically(folder / "summary.md", report.summary_md(judgement, run))
    here = folder.resolve()
    past = [one for one in past_runs(here.parent, judgement.gate) if one.name < here.name]
    write_atomically(folder / "report.html", report.report_html(judgement, run, past))


def flow_error_text(row: Mapping[str, Any]) -> str:
    """A user's flow that raised, with what and where, in one line."""
    lines = str(row.get("traceback", "")).strip().splitlines() or ["it raised"]
    places = re.findall(r'^  File "([^"]+)", line (\d+)', "\n".join(lines), re.MULTILINE)
    at = f"{places[-1][0]}:{places[-1][1]}: " if places else ""
    return f"{at}{lines[-1]} (flow of {row.get('flow', '')})"


def event_text(row: Mapping[str, Any]) -> str | None:
    """A timeline row in words, for the screen; None for what is not worth a line."""
    fault, proof = row.get("fault", ""), row.get("proof", "")
    if isinstance(proof, list):
        proof = f"{len(proof)} observations"
    if row.get("event") == Event.LOAD_FLOW_ERROR and not row.get("over_failure"):
        return flow_error_text(row)
    texts: dict[str, str] = {
        Event.FAULT_REQUESTED: f"{fault}: {row.get('mode', '')} {row.get('component', '')} "
        "requested",
        Event.FAULT_OBSERVED: f"{fault}: {row.get('component', '')} seen broken from outside "
        f"({proof})",
        Event.FAULT_UNPROVEN: f"{fault}: no effect observed on {row.get('component', '')}: "
        f"{row.get('why', '')}",
        Event.FAULT_LOST: f"{fault}: {row.get('part', '')} is no longer broken, and nobody took it "
        f"back: {row.get('saw', '')}",
        Event.FAULT_CLEARED: f"{fault}: {row.get('component', '')} restored",
        Event.FAULT_UNDO_FAILED: f"{fault}: NOT undone: {row.get('why', '')}",
        Event.FAULT_UNDO_PENDING: f"{fault}: still not undone: {row.get('component', '')}: "
        f"{row.get('why', '')}",
        Event.CHAOS_WITHDRAWN: f"the fault is taken back before its time, by {row.get('by', '')}",
        Event.CHAOS_FAILED: f"{fault}: {row.get('activity', '')} failed: {row.get('why', '')}",
        Event.CHAOS_WAITING: f"{fault}: waits for {row.get('probe', '')}",
        Event.CHAOS_TRIGGERED: f"{fault}: triggered: it said {row.get('saw', '')}",
        Event.CHAOS_UNTRIGGERED: f"{fault}: never triggered: {row.get('why', '')}",
        Event.CHAOS_SKIPPED: f"{fault}: left out: {row.get('why', '')}",
        Event.CHAOS_ROLLBACK: f"{fault}: undoing",
        Event.NET_REFUSED: f"refused: {row.get('where', '')}, asked for by {row.get('who', '')}",
        Event.LOAD_LOST: f"load worker {row.get('worker', '')} lost: {row.get('why', '')}",
    }
    return texts.get(str(row.get("event")))


def rejudged_plan(folder: Path, other: Plan) -> Plan:
    """The plan of a finished run with the objectives of another gate: what ran stays, what is asked
    of it changes.

    Raises ValueError when the folder has no plan to start from.
    """
    from stormgate.evidence import open_run

    own = open_run(folder).plan
    if own is None:
        raise ValueError(f"{folder}: no readable plan.json")
    return replace(
        own,
        gate=other.gate,
        confidence=other.confidence,
        objectives=other.objectives,
        validity=other.validity,
        waivers=other.waivers,
        proofs=None,
        source=other.source,
    ).sealed()
