"""A release gate and everything it refers to, read and checked together, into one Plan."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stormgate import model
from stormgate.documents.experiments import Given, Touched, check_experiment
from stormgate.documents.gate_shape import (
    FEWEST_USERS,
    FaultShape,
    GateDocument,
    GateSpec,
    ObjectiveShape,
    WaiversDocument,
    WaiverShape,
)
from stormgate.documents.heads import headed
from stormgate.documents.holds import check_guard, check_holds
from stormgate.documents.objectives import Surroundings, kinds, read_objective
from stormgate.documents.problems import Problems, label, nearest, suite_root
from stormgate.documents.production import check_safety
from stormgate.documents.shapes import fit
from stormgate.documents.signatures import check_syntax
from stormgate.documents.slo.read import KINDS as OPENSLO_KINDS
from stormgate.documents.slo.read import Slo, read_slos, written_name
from stormgate.documents.slo.refs import check_known, check_mapped, check_refs, on_trial
from stormgate.documents.target import read_target
from stormgate.documents.trial.given import NO_CHANGES, Changes
from stormgate.documents.trial.native import check_native
from stormgate.documents.trial.overlaps import check_overlaps, check_when, read_when
from stormgate.documents.trial.readings import check_reads, check_receive, read_readings
from stormgate.documents.yamlfile import Document, Loc, listed, read_documents


def load(
    path: Path,
    *,
    allow_production: bool = False,
    finished: bool = False,
    changes: Changes = NO_CHANGES,
) -> model.Plan:
    """The plan of a gate file. Raises DocumentErrors with every problem in every document it refers
    to.
    """
    problems = Problems()
    plan = _Reading(path, problems, allow_production, finished, changes).plan()
    problems.raise_any()
    if plan is None:  # unreachable: no plan without a problem
        raise AssertionError(path)
    return plan


@dataclass
class _Reading:
    """One reading of a gate; `problems` gathers what is wrong wherever it is."""

    path: Path
    problems: Problems
    allow_production: bool
    finished: bool
    changes: Changes

    def __post_init__(self) -> None:
        self.folder = self.path.resolve().parent
        self.root = suite_root(self.path)

    def plan(self) -> model.Plan | None:
        documents = headed(read_documents(self.path, self.problems), self.problems)
        gate = self._gate_among(documents)
        if gate is None:
            read_slos(documents, self.problems)
            return None
        self.changes.apply(gate, self.problems)
        shape = fit(GateDocument, gate, self.problems)
        loose = gate.data.get("spec")
        files = loose.get("sloFiles") if isinstance(loose, dict) else None
        trials = on_trial(loose)
        documents += self._slo_documents(files, gate, trials)
        mapped = None if shape is None else shape.spec.metric_sources
        slos, broken = read_slos(documents, self.problems, trials, mapped)
        if shape is None:
            self._anyway(loose, gate, slos, broken)
            return None
        spec = shape.spec
        trial = read_target(self._file(spec.target, gate, "target"), self.problems)
        self._locustfile(spec.load.locustfile, gate)
        if not broken:
            check_mapped(spec, gate, slos, self.problems)
        touched = self._faults(spec, gate, trial)
        around = Surroundings(
            kinds=kinds(),
            slos=slos,
            broken_slos=frozenset(broken),
            slo_refs=tuple(spec.slo_refs),
            faults=tuple(fault.name for fault in spec.faults),
            target=trial,
            source=self._relative(self.path),
        )
        objectives = self._objectives(spec, gate, around)
        waivers = self._waivers(spec, gate)
        readings = read_readings(spec.readings, gate, self.root, self.problems)
        check_receive(spec.receive, gate, trial, self.problems)
        if trial is not None:
            check_safety(spec, trial, touched, gate, self.allow_production, self.problems)
        if len(self.problems) or trial is None:
            return None
        plan = self.changes.asked(self._assemble(shape, trial, objectives, waivers, readings))
        stand = {name: one.stand for name, one in touched.items() if one.stand is not None}
        check_holds(plan, stand, self.problems)
        check_guard(plan, {name: one.held for name, one in touched.items()}, self.problems)
        return self.changes.made(plan)

    def _gate_among(self, documents: list[Document]) -> Document | None:
        gates = [document for document in documents if document.data.get("kind") == "ReleaseGate"]
        for extra in gates[1:]:
            self.problems.add(
                extra.file,
                extra.line("kind"),
                "a second ReleaseGate in one file",
                "one gate, one file",
            )
        if not gates and documents:
            found = ", ".join(
                dict.fromkeys(str(document.data.get("kind")) for document in documents)
            )
            self.problems.add(
                label(self.path),
                1,
                f"no ReleaseGate in this file, only {found}",
                "add a document with kind: ReleaseGate",
            )
        return gates[0] if gates else None

    def _slo_documents(self, files: Any, gate: Document, trials: set[str]) -> list[Document]:
        """What is on trial, and the indicators, in files of SLOs: the rest of them is no business
        of the gate.
        """
        found: list[Document] = []
        for index, name in enumerate(files if isinstance(files, list) else []):
            path = self._file(str(name), gate, "sloFiles", index)
            if path.resolve() != self.path.resolve() and path.is_file():
                written = [
                    document
                    for document in listed(read_documents(path, self.problems))
                    if isinstance(document.data, dict)
                    and (document.data.get("kind") == "SLI" or written_name(document) in trials)
                ]
                found += [
                    document
                    for document in headed(written, self.problems)
                    if document.data["kind"] in OPENSLO_KINDS
                ]
        return found

    def _file(self, name: str, gate: Document, *loc: str | int) -> Path:
        path = self.folder / name
        if not path.is_file():
            siblings = path.parent.glob(f"*{path.suffix}") if path.parent.is_dir() else ()
            there = sorted(os.path.relpath(one, self.folder) for one in siblings)
            fix = (
                nearest(name, there, what="there is")
                if there
                else f"paths are relative to {label(self.folder)}"
            )
            self.problems.add(gate.file, gate.line("spec", *loc), f"there is no file {name!r}", fix)
        return path

    def _locustfile(self, name: str, gate: Document) -> None:
        """It is there, and it is Python."""
        path = self._file(name, gate, "load", "locustfile")
        check_syntax(path, self.problems)

    def _relative(self, path: Path) -> str:
        return Path(os.path.relpath(path.resolve(), self.root)).as_posix()

    def _anyway(self, spec: Any, gate: Document, slos: dict[str, Slo], broken: set[str]) -> None:
        """The gate itself is misshapen; what can be understood of it is still checked, so that one
        run shows all errors.
        """
        if not isinstance(spec, dict):
            return
        trial = None
        if isinstance(spec.get("target"), str):
            path = self._file(spec["target"], gate, "target")
            trial = read_target(path, self.problems) if path.is_file() else None
        if isinstance(spec.get("load"), dict) and isinstance(spec["load"].get("locustfile"), str):
            self._locustfile(spec["load"]["locustfile"], gate)
        faults = _mappings(spec.get("faults"))
        for index, fault in faults:
            if isinstance(fault.get("experiment"), str):
                path = self._file(fault["experiment"], gate, "faults", index, "experiment")
                if path.is_file():
                    check_experiment(
                        path,
                        _given(fault.get("configuration"), index, gate),
                        self.root,
                        trial,
                        self.problems,
                    )
        refs = spec.get("sloRefs")
        check_known(refs, gate, slos, broken, self.problems)
        around = Surroundings(
            kinds=kinds(),
            slos=slos,
            broken_slos=frozenset(broken),
            slo_refs=tuple(str(name) for name in refs) if isinstance(refs, list) else (),
            faults=tuple(str(fault.get("name")) for _, fault in faults),
            target=trial,
            source=self._relative(self.path),
        )
        for index, data in _mappings(spec.get("objectives")):
            with contextlib.suppress(
                ValidationError
            ):  # already noted, where the whole gate did not fit
                read_objective(
                    index, ObjectiveShape.model_validate(data), gate, around, self.problems
                )

    def _faults(
        self, spec: GateSpec, gate: Document, trial: model.Target | None
    ) -> dict[str, Touched]:
        touched: dict[str, Touched] = {}
        experiments: list[tuple[Path, Given]] = []
        for index, fault in enumerate(spec.faults):
            loc: Loc = ("faults", index)
            if fault.name in touched:
                self.problems.add(
                    gate.file,
                    gate.line("spec", *loc, "name"),
                    f"fault {fault.name!r} is listed twice",
                    "rename one",
                )
            path = self._file(fault.experiment, gate, *loc, "experiment")
            touched[fault.name] = Touched()
            if path.is_file():
                given = _given(fault.configuration, index, gate)
                experiments.append((path, given))
                touched[fault.name] = check_experiment(path, given, self.root, trial, self.problems)
        check_overlaps(spec, touched, gate, self.problems)
        check_when(spec, gate, self.root, trial, self.problems)
        check_native(experiments, self.root, self.problems)
        return touched

    def _objectives(
        self, spec: GateSpec, gate: Document, around: Surroundings
    ) -> list[model.Objective]:
        found: list[model.Objective] = []
        names: list[str] = []
        for index, shape in enumerate(spec.objectives):
            line = gate.line("spec", "objectives", index, "name")
            if shape.name in names:
                self.problems.add(
                    gate.file, line, f"objective {shape.name!r} is listed twice", "rename one"
                )
            names.append(shape.name)
            objective = read_objective(index, shape, gate, around, self.problems)
            if objective is not None:
                found.append(objective)
                if not self.finished:
                    there = {one.name for one in spec.readings}
                    check_reads(objective, gate, index, there, self.problems)
        check_refs(spec, gate, around.slos, around.broken_slos, self.problems)
        return found

    def _waivers(self, spec: GateSpec, gate: Document) -> list[WaiverShape]:
        waivers, document, loc = spec.waivers, gate, ("spec", "waivers")
        if isinstance(waivers, str):
            path = self._file(waivers, gate, "waivers")
            documents = (
                headed(read_documents(path, self.problems), self.problems) if path.is_file() else []
            )
            shape = fit(WaiversDocument, documents[0], self.problems) if documents else None
            if shape is None:
                return []
            waivers, document, loc = shape.spec.waivers, documents[0], ("spec", "waivers")
        names = [objective.name for objective in spec.objectives]
        for index, waiver in enumerate(waivers):
            if waiver.objective not in names:
                line = document.line(*loc, index, "objective")
                fix = nearest(waiver.objective, names, what="objectives")
                self.problems.add(
                    document.file, line, f"a waiver for unknown objective {waiver.objective!r}", fix
                )
        return waivers

    def _fault(self, fault: FaultShape, spec: GateSpec) -> model.Fault:
        return model.Fault(
            name=fault.name,
            experiment=self._relative(self.folder / fault.experiment),
            recovery_s=fault.recovery,
            rate_per_window=fault.rate_per_window,
            configuration=fault.configuration,
            overlaps=fault.overlaps,
            after_s=fault.after or 0.0,
            when=read_when(fault.when, spec.readings),
        )

    def _assemble(
        self,
        shape: GateDocument,
        trial: model.Target,
        objectives: list[model.Objective],
        waivers: list[WaiverShape],
        readings: tuple[model.Sampling, ...],
    ) -> model.Plan:
        spec = shape.spec
        load_file = self._relative(self.folder / spec.load.locustfile)
        abort = spec.abort
        rate = abort.error_rate if abort else None
        guard = model.Guard(
            error_rate=rate.gt if rate else None,
            error_rate_for_s=rate.for_ if rate else 20.0,
            max_fault_s=abort.max_fault_duration if abort else 120.0,
        )
        return model.Plan(
            gate=shape.metadata.name,
            seed=spec.seed,
            confidence=spec.confidence,
            target=trial,
            load=replace(
                model.Load(
                    locustfile=load_file,
                    rate_per_s=spec.load.rate_per_s,
                    # Until the Locust file has said who its users are (supervise/preflight.py).
                    users=spec.load.users or max(spec.load.workers, FEWEST_USERS),
                ),
                workers=spec.load.workers,
                tags=tuple(spec.load.tags),
                engine=spec.load.engine,
            ),
            warmup_s=spec.phases.warmup,
            steady_s=spec.phases.steady,
            final_s=spec.phases.final,
            faults=tuple(self._fault(fault, spec) for fault in spec.faults),
            objectives=tuple(objectives),
            readings=readings,
            receive=spec.receive.listen if spec.receive else "",
            validity=model.Validity(
                max_send_lag_p99_ms=spec.validity.max_send_lag_p99,
                min_achieved=spec.validity.min_achieved,
                max_cpu=spec.validity.max_cpu,
                max_clock_error_ms=spec.validity.max_clock_error,
                max_saturated_share=spec.validity.max_saturated_share,
                max_flow_errors=spec.validity.max_flow_errors,
                max_starved_cores=spec.validity.max_starved_cores,
            ),
            guard=guard,
            waivers=tuple(
                model.Waiver(
                    objective=w.objective, owner=w.owner, reason=w.reason, expires=w.expires
                )
                for w in waivers
            ),
            stop=spec.stop,
            retry_inconclusive=spec.policy.retry_inconclusive,
            source=self._relative(self.path),
        ).sealed()


def _mappings(value: Any) -> list[tuple[int, dict[str, Any]]]:
    return (
        [(index, one) for index, one in enumerate(value) if isinstance(one, dict)]
        if isinstance(value, list)
        else []
    )


def _given(configuration: Any, index: int, gate: Document) -> Given:
    values = configuration if isinstance(configuration, dict) else {}
    places = {
        key: (gate.file, gate.line("spec", "faults", index, "configuration", key)) for key in values
    }
    return Given(values, places)
