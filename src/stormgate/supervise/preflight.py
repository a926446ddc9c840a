"""What only the Locust file itself can tell, asked before a gate touches anything: whether it can
be read, who its users are, and what its shape plans.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stormgate.documents.gate_shape import FEWEST_USERS
from stormgate.documents.problems import DocumentErrors, Problem, Problems, label, nearest
from stormgate.documents.yamlfile import read_documents
from stormgate.load.schedule.shares import Dealer
from stormgate.model import Plan
from stormgate.system.engine import EngineError, chosen_engine

READ_S = 60.0
# Streams are cheap, but each is a greenlet; populations that still have none are told by `plan`.
_MOST_USERS = 5_000
# How much longer than its fixed phases a run may take for each fault.
_FAULT_S = 300.0


def preflight(gate: Path, plan: Plan, root: Path) -> Plan:
    """The plan with what its Locust file schedules. Raises DocumentErrors with every problem that
    can be known without starting the load.
    """
    at = _Lines(gate)
    found = read_workload(plan, root)
    problems: list[Problem] = []
    if not at.has("users") and "problem" not in found:
        if found.get("shape"):
            message = "users is missing: a LoadTestShape makes ratePerS with so many users"
            problems.append(at.problem("ratePerS", message, "users: 100"))
        elif (users := enough_users(plan, found.get("classes", ()))) != plan.load.users:
            plan = replace(plan, load=replace(plan.load, users=users)).sealed()
            found = read_workload(plan, root)
    load = plan.load
    try:
        chosen_engine(load.engine)
    except EngineError as error:
        problems.append(at.problem("engine", str(error), "engine: python"))
    if load.workers > load.users:
        message = f"{load.workers} workers for {load.users} users: some would have nobody"
        problems.append(at.problem("workers", message, f"at most {load.users} workers"))
    problems += found_problems(plan, found, at, root)
    if at.has("users") and not problems:
        problems += empty_cells(plan, found, at)
    if problems:
        raise DocumentErrors(problems)
    shape = found.get("shape")
    if shape is None:
        return plan
    points = tuple((float(t), float(users)) for t, users in shape["points"])
    return replace(plan, load=replace(load, shape=shape["name"], schedule=points)).sealed()


def enough_users(plan: Plan, classes: Sequence[Mapping[str, Any]]) -> int:
    """The least number of users with which every population has some of every class. Classes with
    a fixed count have those besides.
    """
    weights: list[float] = [cls["weight"] for cls in classes if cls["weight"]]
    fixed = sum(int(cls["fixed"]) for cls in classes)
    shares = {p.name: p.share for p in plan.target.populations}
    users = 0
    if weights and any(share > 0 for share in shares.values()):
        total = sum(weights)
        users = math.ceil(first_of_all(shares) * total / min(weights) - 1e-9)
        if whole := [weight for weight in weights if isinstance(weight, int)]:
            # Whole rounds of Locust's deal: then every class has exactly its part.
            around = sum(whole) // math.gcd(*whole)
            users = math.ceil(users / around) * around if len(whole) == len(weights) else users
    return min(max(users + fixed, FEWEST_USERS, plan.load.workers), _MOST_USERS)


def empty_cells(plan: Plan, found: Mapping[str, Any], at: _Lines) -> list[Problem]:
    """That the number of users a gate asks for leaves some population without users of some class:
    nobody would measure what it is promised. Classes with a fixed count are their owner's affair,
    and so are more populations than any number of users serves.
    """
    classes, counts = found.get("classes", []), found.get("counts", {})
    shares = {p.name: p.share for p in plan.target.populations if p.share > 0}
    enough = enough_users(plan, classes)
    if not shares or enough >= _MOST_USERS:
        return []
    lost = []
    for cls in classes:
        if not cls["wanted"] or cls["fixed"]:
            continue
        dealer = Dealer(shares)
        served = {dealer.population(position) for position in range(counts.get(cls["name"], 0))}
        empty = [name for name in shares if name not in served]
        if empty:
            more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
            lost.append(f"{cls['name']} of {', '.join(empty[:3])}{more}")
    if not lost:
        return []
    message = f"{plan.load.users} users leave nobody to be {', '.join(lost)}"
    fix = f"users: {enough}, or leave it out: then there are as many as it takes"
    return [at.problem("users", message, fix)]


def first_of_all(shares: Mapping[str, float]) -> int:
    """After how many streams of one class every population with a share has had one."""
    dealer = Dealer(shares)
    missing = {name for name, share in shares.items() if share > 0}
    position = 0
    for position in range(_MOST_USERS):
        missing.discard(dealer.population(position))
        if not missing:
            break
    return position + 1


def fixed_s(plan: Plan) -> float:
    """The least that a run takes, s: its phases of a fixed length."""
    recoveries = sum(fault.recovery_s for fault in plan.faults)
    return plan.warmup_s + plan.steady_s + plan.final_s + recoveries


def read_workload(plan: Plan, root: Path) -> Mapping[str, Any]:
    """What `stormgate.load.workload` says of the plan's Locust file."""
    load = plan.load
    file = root / load.locustfile
    seconds = fixed_s(plan) + _FAULT_S * len(plan.faults)
    argv = [sys.executable, "-m", "stormgate.load.workload", str(file)]
    argv += [str(seconds), str(load.users), *load.tags]
    paths = [str(root), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # Nobody's evidence: what the file does when it is imported must not write into a run.
    env = {k: v for k, v in os.environ.items() if k not in ("STORMGATE_EVIDENCE", "STORMGATE_PLAN")}
    env["PYTHONPATH"] = os.pathsep.join(paths)
    try:
        done = subprocess.run(
            argv, env=env, cwd=root, capture_output=True, timeout=READ_S, check=False
        )
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"problem": {"file": str(file), "line": 1, "message": "importing it does not end"}}
    except ValueError:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no word"]
        return {
            "problem": {"file": str(file), "line": 1, "message": f"cannot be read: {lines[-1]}"}
        }
    return found if isinstance(found, dict) else {}


def found_problems(plan: Plan, found: Mapping[str, Any], at: _Lines, root: Path) -> list[Problem]:
    """What is wrong with a plan over what its Locust file holds."""
    if "problem" in found:
        problem = found["problem"]
        file, line = label(Path(problem["file"])), int(problem["line"])
        return [Problem(file, line, problem["message"], "mend the locustfile")]
    load, problems = plan.load, []
    classes = found.get("classes", [])
    file = label(root / load.locustfile)
    if not classes:
        return [Problem(file, 1, "it has no user class", "class Reader(GeoUser): ...")]
    tags = sorted({tag for cls in classes for tag in cls["tags"]})
    unknown = [tag for tag in load.tags if tag not in tags]
    problems += [
        at.problem("tags", f"no task of {file} has the tag {tag!r}", nearest(tag, tags))
        if tags
        else at.problem("tags", f"no task of {file} has a tag", "leave tags out")
        for tag in unknown
    ]
    idle = [cls["name"] for cls in classes if not cls["tasks"]]
    for name in idle if not unknown else ():
        if load.tags:
            message = f"tags {', '.join(load.tags)} leave {name} without a task"
            problems.append(at.problem("tags", message, f"tag a task of {name}, or move it away"))
        else:
            fix = f"write `def flow(self, session)` into {name}, or set abstract = True"
            problems.append(Problem(file, 1, f"{name} has no flow and no task", fix))
    counts = found.get("counts", {})
    nobody = [cls["name"] for cls in classes if cls["wanted"] and not counts.get(cls["name"])]
    if nobody:
        made = ", ".join(f"{name} {n}" for name, n in counts.items())
        message = f"{load.users} users leave none for {', '.join(nobody)} ({made})"
        problems.append(at.problem("users", message, "more users, or other weights"))
    shape = found.get("shape") or {}
    ends_s = shape.get("ends_s")
    if ends_s is not None and ends_s < fixed_s(plan):
        message = (
            f"shape {shape['name']} ends after {ends_s:g} s, the phases take at least "
            f"{fixed_s(plan):g} s"
        )
        problems.append(at.problem("locustfile", message, "let its tick() go on"))
    return problems


class _Lines:
    """Where the keys of `spec.load` stand in a gate's file."""

    def __init__(self, gate: Path) -> None:
        self._gate = gate
        self._document = next(
            (
                document
                for document in read_documents(gate, Problems())
                if isinstance(document.data, dict) and document.data.get("kind") == "ReleaseGate"
            ),
            None,
        )

    def has(self, key: str) -> bool:
        """Whether the gate says so itself."""
        spec = self._document.data.get("spec") if self._document is not None else None
        load = spec.get("load") if isinstance(spec, dict) else None
        return isinstance(load, dict) and key in load

    def problem(self, key: str, message: str, fix: str) -> Problem:
        if self._document is None:
            return Problem(label(self._gate), 1, message, fix)
        line = self._document.line("spec", "load", key)
        return Problem(self._document.file, line, message, fix)
