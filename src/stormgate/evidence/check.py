"""`stormgate evidence check`: can this folder be judged? Names every torn block, wrong hash, wrong
column and missing file.
"""

from __future__ import annotations

from pathlib import Path

from stormgate.evidence.manifest import check_manifest
from stormgate.evidence.operations import FINAL, OPERATIONS, PLANNED, HistoryReader
from stormgate.evidence.read import Run
from stormgate.evidence.schema import SAMPLES_SCHEMA
from stormgate.model import Event

_INTEGER = {
    "intended_ns": "int64",
    "sent_ns": "int64",
    "done_ns": "int64",
    "request": "uint64",
    "attempt": "uint8",
    "status": "uint16",
    "bytes_in": "uint32",
}
_WORDS = ("population", "route", "op", "outcome")
_DICTIONARY = "dictionary<values=string, indices=int32, ordered=0>"


def check_run(folder: Path) -> list[str]:
    """Problems of a run folder, each `file: what`; empty when it is whole. Raises FileNotFoundError
    when there is no folder.
    """
    run = Run(folder)
    problems = check_manifest(run.folder)
    if run.plan is not None and not run.plan_is_sealed:
        problems.append("plan.json: its digest is not that of its content")
    known = {event.value for event in Event}
    for row in run.timeline:
        if not isinstance(row.get("at_ns"), int) or not isinstance(row.get("event"), str):
            problems.append(f"timeline.ndjson: a row without at_ns or event: {row}")
        elif row["event"] not in known:
            problems.append(f"timeline.ndjson: unknown event {row['event']!r}")
    problems += _check_samples(run)
    problems += _check_counts(run)
    problems += _check_operations(run)
    return problems + run.problems


def _check_samples(run: Run) -> list[str]:
    problems: list[str] = []
    checked: set[str] = set()
    for worker, batch in run.batches():
        if worker in checked:
            continue
        checked.add(worker)
        file = f"samples/{worker}.arrow"
        metadata = batch.schema.metadata or {}
        if metadata.get(b"schema") != SAMPLES_SCHEMA.encode():
            problems.append(f"{file}: schema metadata is not {SAMPLES_SCHEMA!r}")
        types = {field.name: str(field.type) for field in batch.schema}
        for name, wanted in [*_INTEGER.items(), *((word, _DICTIONARY) for word in _WORDS)]:
            if name not in types:
                problems.append(f"{file}: column {name!r} is missing")
            elif types[name] != wanted:
                problems.append(f"{file}: column {name!r} is {types[name]}, not {wanted}")
    problems += [
        f"samples/{f.worker}.arrow: cut, no end of stream"
        for f in run.sample_files.values()
        if not f.ended
    ]
    return problems


def _check_operations(run: Run) -> list[str]:
    """What users did to data and what was read back, row by row; the judge holds its counts against
    generator.ndjson.
    """
    reader = HistoryReader()
    reader.read(run.operations())
    reader.read(run.operations(FINAL), final=True)
    reader.planned(run.operations(PLANNED))
    counted = {
        str(row.get("worker")): row["operations"] for row in run.generator if "operations" in row
    }
    problems = [
        f"{OPERATIONS}/{name}.arrow: cut, no end of stream"
        for name, file in run.operation_files.items()
        if not file.ended
    ]
    for worker, said in sorted(counted.items()):
        if said != reader.rows.get(worker, 0):
            problems.append(
                f"{OPERATIONS}/{worker}.arrow: {reader.rows.get(worker, 0)} rows, but the worker "
                f"says it wrote {said}"
            )
    _ = run.residency  # what is wrong with it gathers in the run's problems
    return [*reader.problems, *problems]


def _check_counts(run: Run) -> list[str]:
    """Rows read against the rows each worker says it wrote: a stream cut between two blocks ends
    silently.
    """
    last: dict[str, dict[str, object]] = {}
    for row in run.generator:
        last[str(row.get("worker"))] = row
    problems = [
        f"generator.ndjson: nothing of worker {name!r}"
        for name in sorted(run.sample_files.keys() - last.keys())
    ]
    for worker, row in sorted(last.items()):
        if not row.get("final"):
            problems.append(f"generator.ndjson: worker {worker!r} has no final row")
        file = run.sample_files.get(worker)
        if file is None:
            problems.append(f"samples/{worker}.arrow: missing")
        elif file.rows != row.get("rows"):
            problems.append(
                f"samples/{worker}.arrow: {file.rows} rows, but the worker says it wrote "
                f"{row.get('rows')}"
            )
    return problems
