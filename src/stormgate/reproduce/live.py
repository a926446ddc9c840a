"""Trying a case on a system that runs: a short gate over what is already there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from stormgate.judge.registry import kinds
from stormgate.model import Fault, Guard, Judgement, Objective, Plan, Target, Verdict
from stormgate.reproduce.native import experiment
from stormgate.reproduce.shrink.case import Case
from stormgate.reproduce.shrink.decide import Trying
from stormgate.reproduce.shrink.search import BudgetSpent
from stormgate.reproduce.suite import yaml_text
from stormgate.supervise.children import RunningTarget
from stormgate.supervise.supervisor import Supervisor
from stormgate.supervise.terms import Options, Screen
from stormgate.system.files import write_atomically

# Chaos Toolkit takes some 4 s to begin, and every population has to be seen to be served for 5 s
# more before anything is broken: they warm up, too. Where nothing is broken they do not.
WARMUP_S = 2.0
CALM_WARMUP_S = 6.0
RECOVERY_S = 1.0
MOST_ALONE_S = 20.0


class Standing(Protocol):
    """A target that goes on between two tries. `fresh` brings it back to how it was, or takes it as
    it is; `after` is told how a try left it.
    """

    def fresh(self) -> RunningTarget: ...
    def after(self, judgement: Judgement) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where cases are tried: the plan they come from and the objective that has to fail, the
    suite's root, a folder for the tries, and until when (s of the monotonic clock). `alone_s`: how
    long users are watched where nothing is broken.
    """

    plan: Plan
    objective: Objective
    root: Path
    folder: Path
    until_s: float
    alone_s: float = 10.0
    tells_whole: bool = True


class LiveOracle:
    """Says of a case whether the objective fails. Use from the main thread."""

    def __init__(
        self, bench: Bench, standing: Standing, screen: Screen, say: Callable[[str], object]
    ) -> None:
        self._bench = bench
        self._standing = standing
        self._screen = screen
        self._say = say
        self.tries = 0

    def ask(self, case: Case) -> Trying:
        """One try. Raises BudgetSpent when no time is left, or a person stopped it."""
        if time.monotonic() >= self._bench.until_s:
            raise BudgetSpent
        planned = plan_of(self._bench, case)
        if planned is None:
            return Trying.HOLDS  # nothing is left that it could fail by
        self._write(case)
        running = self._standing.fresh()
        chosen = users_of(running.target, case)
        # It stands between two tries: ending it is not the run's business.
        kept = RunningTarget(chosen, why_dead=running.why_dead, stop=lambda: None)
        options = Options(root=self._bench.root, reports=self._bench.folder, standing=kept)
        self.tries += 1
        judgement, folder = Supervisor(planned, options, self._screen).run()
        if was_stopped(judgement):
            raise BudgetSpent
        self._standing.after(judgement)
        what = outcome(judgement, self._bench.objective.name)
        self._say(f"try {self.tries}: {told(case)}: {what} ({folder.name})")
        return what

    def _write(self, case: Case) -> None:
        self._bench.folder.mkdir(parents=True, exist_ok=True)
        for trial in case.trials:
            made = experiment(
                trial.name, told(case), trial.schedule, tells_whole=self._bench.tells_whole
            )
            path = self._bench.folder / file_of(case, trial.name)
            write_atomically(path, yaml_text(made, f"one try: {told(case)}"))


def file_of(case: Case, trial: str) -> str:
    """The file of one trial of a case."""
    return f"{case.key}-{[one.name for one in case.trials].index(trial)}.yaml"


def told(case: Case) -> str:
    """A case in a line."""
    faults = ", ".join(fault for _, fault in case.units) or "no fault"
    return f"{faults}; {len(case.populations)} populations, {case.rate_per_s:g}/s"


def outcome(judgement: Judgement, objective: str) -> Trying:
    """What a run says of an objective. A run that broke says nothing; one whose objective was not
    decided although everything else was in order did not show a failure.
    """
    if judgement.verdict in (Verdict.ERROR, Verdict.ABORTED, Verdict.DIRTY):
        return Trying.UNDECIDED
    if any(one.verdict is not Verdict.PASS for one in judgement.validity):
        return Trying.UNDECIDED
    found = next((one for one in judgement.objectives if one.name == objective), None)
    if found is None or found.why.startswith("generator"):
        return Trying.UNDECIDED
    return Trying.FAILS if found.verdict is Verdict.FAIL else Trying.HOLDS


def was_stopped(judgement: Judgement) -> bool:
    """Whether a person, or whoever started us, ended the run: then it says nothing of the case."""
    return any("stopped by SIG" in one.why for one in judgement.validity)


def plan_of(bench: Bench, case: Case) -> Plan | None:
    """The short gate of a case; None when the objective has nothing to look at in it."""
    plan = bench.plan
    objective = looks_at(bench.objective, case)
    if objective is None:
        return None
    spec, kind = objective.spec, kinds()[objective.kind]
    needs = {*_listed(spec.get("phases")), *_listed(spec.get("versus"))}
    watched = kind.over_faults or any(phase.startswith("recovery") for phase in needs)
    alone_s = 0.0 if case.trials else min(bench.alone_s, MOST_ALONE_S)
    share = share_of(plan.target, case)
    rate_per_s = case.rate_per_s * share
    users = max(
        round(plan.load.users * rate_per_s / plan.load.rate_per_s), 2 * len(case.populations)
    )
    return replace(
        plan,
        gate=f"try-{case.key}",
        target=users_of(plan.target, case),
        load=replace(plan.load, rate_per_s=rate_per_s, users=users, tags=case.tags),
        warmup_s=min(plan.warmup_s, WARMUP_S if case.trials else CALM_WARMUP_S),
        steady_s=max(alone_s, plan.steady_s if "steady" in needs and case.trials else 0.0),
        final_s=plan.final_s if "final" in needs and case.trials else 0.0,
        faults=tuple(
            Fault(
                name=one.name,
                experiment=os.path.relpath(bench.folder / file_of(case, one.name), bench.root),
                recovery_s=one.recovery_s if watched else min(one.recovery_s, RECOVERY_S),
                # Without what it overlapped it stands alone.
                overlaps=one.overlaps if one.overlaps in {o.name for o in case.trials} else None,
                after_s=one.after_s,
            )
            for one in case.trials
        ),
        objectives=(objective,),
        # Many errors are what is looked for: no reason to stop.
        guard=Guard(max_fault_s=plan.guard.max_fault_s),
        waivers=(),
        retry_inconclusive=0,
        stop="planned",
        short=(),
        attempts=(),
    ).sealed()


def looks_at(objective: Objective, case: Case) -> Objective | None:
    """The objective over what is left: without the trials that are gone. None when nothing is left
    that it could look at.
    """
    names = {one.name for one in case.trials}
    spec: dict[str, Any] = dict(objective.spec)
    kind = kinds()[objective.kind]
    fault = spec.get("fault")
    if (fault is not None and fault not in names) or (kind.over_faults and not names):
        return None
    phases = _listed(spec.get("phases"))
    if not phases:
        return objective
    kept = [one for one in phases if "[" not in one or one[one.index("[") + 1 : -1] in names]
    if not names:
        kept = ["steady"]
    if not kept:
        return None
    return replace(objective, spec={**spec, "phases": kept})


def _listed(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def share_of(target: Target, case: Case) -> float:
    """The share of all users that a case's populations are; 1 for a target without any."""
    if not target.populations:
        return 1.0
    return sum(one.share for one in target.populations if one.name in case.populations)


def users_of(target: Target, case: Case) -> Target:
    """The target with these populations alone, in the shares they have among each other."""
    kept = [one for one in target.populations if one.name in case.populations]
    whole = sum(one.share for one in kept) or 1.0
    return replace(target, populations=tuple(replace(one, share=one.share / whole) for one in kept))


def hypothesis(objective: Objective, length_s: float) -> list[Mapping[str, Any]]:
    """The objective as a probe over the users of the last seconds, for a plain `chaos run` beside
    a load that writes into the same folder. Told by the fields of its kind; empty for one that no
    probe stands for.
    """
    spec = objective.spec
    window_s = round(max(1.0, length_s), 1)
    columns = {key: _listed(one) for key, one in (spec.get("where") or {}).items()}
    cells = [dict(zip(columns, one, strict=True)) for one in product(*columns.values())]
    return [one for cell in cells if (one := _over(spec, window_s, cell)) is not None]


def _over(spec: Mapping[str, Any], window_s: float, where: Mapping[str, str]) -> Any:
    """The probe over one cell. Whenever all of them together miss the limit, one of them does."""
    arguments: dict[str, Any] = {"window_s": window_s, "where": dict(where)}
    if {"quantile", "lte_ms", "coverage"} <= spec.keys():
        arguments["percentile"] = spec["quantile"] * 100
        return _probe("latency_percentile", arguments, [0, spec["lte_ms"]])
    if {"target", "claim"} <= spec.keys():
        arguments["within_ms"] = spec.get("within_ms")
        return _probe("availability", arguments, [spec["target"], 1])
    return None


def _probe(func: str, arguments: Mapping[str, Any], between: list[float]) -> dict[str, Any]:
    return {
        "type": "probe",
        "name": "-".join([func.replace("_", "-"), *arguments["where"].values()]),
        "tolerance": {"type": "range", "range": between},
        "provider": {
            "type": "python",
            "module": "stormgate.chaos.probes",
            "func": func,
            "arguments": {key: one for key, one in arguments.items() if one not in (None, {})},
        },
    }
