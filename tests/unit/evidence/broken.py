"""Random healthy runs, and every law of the evidence as a way to break one at a random place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tests.golden.judge_writer import S, objective, plan_of, rows_of, synthetic, write_folder

from stormgate.judge.synthetic import MemoryRun
from stormgate.model import Plan, to_json

Rng = np.random.Generator
Break = Callable[[MemoryRun, Rng], None]
FAULT_S = 6.0
PLACES = ("london", "tokyo", "lima", "oslo")


def healthy(rng: Rng) -> MemoryRun:
    """A run that passes: of any size, population, number of workers, faults and objectives."""
    count = int(rng.integers(1, 4))
    shares = rng.dirichlet(np.full(count, 20.0))
    plan = plan_of(
        [
            objective("availability", target=0.97),
            objective("failover", lte_s=5, by=["population"]),
            objective("latency", quantile=0.9, lte_ms=50),
            objective("reading", probe="lag", lte=1),
        ][: int(rng.integers(2, 5))],
        steady_s=float(rng.integers(8, 20)),
        rate=float(rng.integers(80, 120)),
        faults=[f"kill-{n}" for n in range(int(rng.integers(1, 3)))],
        recovery_s=float(rng.integers(4, 8)),
        populations=tuple(zip(PLACES, shares.tolist(), strict=False)),
    )
    rows = rows_of(plan, seed=int(rng.integers(1 << 30)), workers=int(rng.integers(1, 3)), fault_s=FAULT_S)  # fmt: skip # noqa: E501
    # A healthy service has bad moments, too; one in the last second of a recovery is not over by
    # the end of what was watched.
    steady_end = rows.intended_ns.min() + round((plan.warmup_s + plan.steady_s) * S)
    rows.outcome[(rng.random(len(rows.outcome)) < 0.002) & (rows.intended_ns < steady_end)] = 2
    run = synthetic(plan, rows, fault_s=FAULT_S, block_rows=int(rng.integers(50, 900)))
    run.readings = [{"at_ns": p.begin_ns + S, "probe": "lag", "value": 0.5} for p in run.stretches]
    return run


def _row(rows: list[dict[str, Any]], rng: Rng) -> dict[str, Any]:
    return rows[int(rng.integers(len(rows)))]


def _any_block(run: MemoryRun, rng: Rng) -> tuple[int, str, Any]:
    at = int(rng.integers(len(run.blocks)))
    return at, *run.blocks[at]


def cell(name: str, value: Callable[[Any, dict[str, Any]], Any]) -> Break:
    """One value of a samples column becomes another; `value` is given the old one and its row."""

    def spoil(run: MemoryRun, rng: Rng) -> None:
        at, worker, batch = _any_block(run, rng)
        # Of those that were sent, so that each law has what it is about.
        row = int(rng.choice(np.flatnonzero(batch.column("sent_ns").is_valid())))
        old = batch.slice(row, 1).to_pylist()[0]
        column = batch.schema.get_field_index(name)
        kind = batch.schema.field(column).type
        values = batch.column(column).to_pylist()
        values[row] = value(old[name], old)
        array = pa.array(values, kind.value_type if pa.types.is_dictionary(kind) else kind)
        array = array.dictionary_encode() if pa.types.is_dictionary(kind) else array
        new = batch.set_column(column, pa.field(name, array.type), array)
        # A stream has one schema: its other blocks stay as they are.
        run.blocks[at] = (worker, new.cast(batch.schema) if new.schema != batch.schema else new)

    return spoil


def column(name: str, change: Callable[[Any], Any] | None) -> Break:
    """A samples column is gone, or of another kind, in every block of one worker."""

    def spoil(run: MemoryRun, rng: Rng) -> None:
        victim = str(rng.choice(sorted({worker for worker, _ in run.blocks})))
        for number, (worker, batch) in enumerate(run.blocks):
            if worker != victim:
                continue
            at = batch.schema.get_field_index(name)
            if change is None:
                new = batch.remove_column(at)
            else:
                array = change(batch.column(at))
                new = batch.set_column(at, pa.field(name, array.type), array)
            run.blocks[number] = (worker, new)

    return spoil


def out_of_range(run: MemoryRun, rng: Rng) -> None:
    at, worker, batch = _any_block(run, rng)
    name = str(rng.choice(["population", "route", "op", "outcome"]))
    index = batch.schema.get_field_index(name)
    old = batch.column(index)
    codes = old.indices.to_numpy(zero_copy_only=False).copy()
    codes[int(rng.integers(len(codes)))] = int(rng.choice([-1, len(old.dictionary), 1 << 30]))
    array = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), old.dictionary, safe=False)
    run.blocks[at] = (worker, batch.set_column(index, batch.schema.field(index), array))


def twice(run: MemoryRun, rng: Rng) -> None:
    at, worker, batch = _any_block(run, rng)
    row = batch.slice(int(rng.integers(batch.num_rows)), 1)
    run.blocks.insert(int(rng.integers(at + 1)), (worker, row))
    for told in run.generator:
        if told["worker"] == worker:
            told["rows"] += told["final"]


def second_only(run: MemoryRun, rng: Rng) -> None:
    """A request whose first attempt is missing: how long its user waited is not known."""
    cell("attempt", lambda *_: int(rng.integers(2, 5)))(run, rng)


def asked_again(run: MemoryRun, rng: Rng) -> None:
    """An answered request that is asked again, and counted."""
    at, worker, batch = _any_block(run, rng)
    ok = [i for i, word in enumerate(batch.column("outcome").to_pylist()) if word == "ok"]
    row = batch.slice(int(rng.choice(ok)), 1)
    column = row.schema.get_field_index("attempt")
    row = row.set_column(column, row.schema.field(column), pa.array([2], pa.uint8()))
    run.blocks.insert(int(rng.integers(at + 1)), (worker, row))
    for told in run.generator:
        if told["worker"] == worker:
            told["rows"] += told["final"]


def lost_rows(run: MemoryRun, rng: Rng) -> None:
    """A block is gone, and the worker does not count its rows either."""
    at, worker, batch = _any_block(run, rng)
    del run.blocks[at]
    for told in run.generator:
        if told["worker"] == worker and told["final"]:
            told["rows"] -= batch.num_rows


def generator(key: str, value: Any) -> Break:
    def spoil(run: MemoryRun, rng: Rng) -> None:
        row = _row([r for r in run.generator if r["sent"] and not r["final"]], rng)
        if value is ...:
            del row[key]
        else:
            row[key] = value

    return spoil


def more(key: str) -> Break:
    def spoil(run: MemoryRun, rng: Rng) -> None:
        _row(run.generator, rng)[key] += int(rng.integers(1, 50))

    return spoil


def dead_worker(run: MemoryRun, rng: Rng) -> None:
    finals = [r for r in run.generator if r["final"]]
    _row(finals, rng)["final"] = rng.choice([False, None])


def silence(run: MemoryRun, rng: Rng) -> None:
    """A worker says nothing for some seconds of a judged phase; its counts stay whole."""
    steady = next(s for s in run.stretches if s.name == "steady")
    worker = _row(run.generator, rng)["worker"]
    begin = steady.begin_ns + int(rng.integers(0, 3)) * S
    gone = [
        r for r in run.generator if r["worker"] == worker and begin < r["at_ns"] <= begin + 4 * S
    ]
    run.generator = [r for r in run.generator if r not in gone]
    after = next(r for r in run.generator if r["worker"] == worker and r["at_ns"] > begin)
    for key in ("planned", "sent", "completed"):
        after[key] += sum(r[key] for r in gone)


def timeline(event: str, change: Callable[[dict[str, Any], MemoryRun, Rng], None]) -> Break:
    def spoil(run: MemoryRun, rng: Rng) -> None:
        change(_row([r for r in run.timeline if str(r["event"]).startswith(event)], rng), run, rng)

    return spoil


def at(value: Any) -> Callable[[dict[str, Any], MemoryRun, Rng], None]:
    def change(row: dict[str, Any], run: MemoryRun, rng: Rng) -> None:
        row["at_ns"] = value

    return change


def gone(row: dict[str, Any], run: MemoryRun, rng: Rng) -> None:
    run.timeline.remove(row)


def again(row: dict[str, Any], run: MemoryRun, rng: Rng) -> None:
    run.timeline.append({**row, "at_ns": row["at_ns"] + int(rng.integers(1, S))})


def early(row: dict[str, Any], run: MemoryRun, rng: Rng) -> None:
    row["at_ns"] -= int(rng.integers(1_500_000_000, 3 * S))


def late(row: dict[str, Any], run: MemoryRun, rng: Rng) -> None:
    row["at_ns"] += int(rng.integers(1_500_000_000, 3 * S))


def unproven(row: dict[str, Any], run: MemoryRun, rng: Rng) -> None:
    row["proof"] = [None, "", [], {"saw": ""}, [None]][int(rng.integers(5))]


def after_the_clearing(row: dict[str, Any], run: MemoryRun, rng: Rng) -> None:
    row["at_ns"] += 10 * S


def before_the_request(row: dict[str, Any], run: MemoryRun, rng: Rng) -> None:
    row["at_ns"] -= 3 * S


def cut_fault_phase(row: dict[str, Any], run: MemoryRun, rng: Rng) -> None:
    """A fault phase that ends long before its fault is taken back, its recovery begun then."""
    ends = [r for r in run.timeline if r["event"] == "phase.end" and "fault[" in r["phase"]]
    row = _row(ends, rng)
    name = row["phase"].removeprefix("fault")
    begins = [r for r in run.timeline if r["event"] == "phase.begin"]
    begin = next(r for r in begins if r["phase"] == f"recovery{name}")
    row["at_ns"] -= round(FAULT_S * 0.6 * S)
    begin["at_ns"] = row["at_ns"]


def ledger(change: Callable[[list[dict[str, Any]], Rng], None]) -> Break:
    def spoil(run: MemoryRun, rng: Rng) -> None:
        change(run.undo, rng)

    return spoil


def _forget(step: str) -> Break:
    def change(rows: list[dict[str, Any]], rng: Rng) -> None:
        rows.remove(_row([r for r in rows if r["step"] == step], rng))

    return ledger(change)


def _nameless(rows: list[dict[str, Any]], rng: Rng) -> None:
    _row(rows, rng)["id"] = [None, "", 7][int(rng.integers(3))]


def _newer(rows: list[dict[str, Any]], rng: Rng) -> None:
    rows.insert(0, {"step": "target", "schema": "stormgate.undo/2", "target": {}})


def journal(change: Callable[[dict[str, Any]], None]) -> Break:
    def spoil(run: MemoryRun, rng: Rng) -> None:
        change(run.journals[str(rng.choice(sorted(run.journals)))])

    return spoil


def no_journal(run: MemoryRun, rng: Rng) -> None:
    del run.journals[str(rng.choice(sorted(run.journals)))]


def _nan_json(value: Any) -> str:
    return json.dumps(value)


def file(name: str, change: Callable[[Path, Rng], None]) -> Callable[[Path, Rng], None]:
    def spoil(folder: Path, rng: Rng) -> None:
        found = sorted(folder.glob(name))
        change(found[int(rng.integers(len(found)))], rng)

    return spoil


def _directory(path: Path, rng: Rng) -> None:
    path.unlink()
    path.mkdir()


def _huge(path: Path, rng: Rng) -> None:
    with path.open("r+b") as out:
        out.truncate(4 << 30)  # no block of it is written


def _deep(path: Path, rng: Rng) -> None:
    path.write_bytes(b"[" * 200_000 + b"\n")


def _many(path: Path, rng: Rng) -> None:
    path.write_bytes(b"[" + b"0," * 13_000_000 + b"0]\n")


def _torn(path: Path, rng: Rng) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - int(rng.integers(9, 60))])


def _no_row(path: Path, rng: Rng) -> None:
    lines = path.read_bytes().split(b"\n")
    lines.insert(
        int(rng.integers(len(lines))), [b"null", b"[]", b"{", b"NaN"][int(rng.integers(4))]
    )
    path.write_bytes(b"\n".join(lines))


def _missing(path: Path, rng: Rng) -> None:
    path.unlink()


def _plan(**change: Any) -> Callable[[Path, Rng], None]:
    """The plan says something else and keeps its digest, or takes the new one (`sealed`)."""

    def spoil(folder: Path, rng: Rng) -> None:
        data = json.loads((folder / "plan.json").read_text())
        (folder / "plan.json").write_text(json.dumps(data | change))

    return spoil


def _s(ns: int) -> int:
    return ns * S


NUMBERS = ("planned", "sent", "not_sent", "rows", "window_s", "cpu", "flow_errors")
NO_NUMBERS: dict[str, Any] = {
    "null": None,
    "NaN": math.nan,
    "-1": -1,
    "a word": "1",
    "missing": ...,
}
LAGS = ("send_lag_p99_ms", "send_lag_max_ms")

LAWS: dict[str, Break] = {
    "sample: done before intended": cell("done_ns", lambda _, r: r["intended_ns"] - 1),
    "sample: done is 0": cell("done_ns", lambda *_: 0),
    "sample: sent before intended": cell("sent_ns", lambda _, r: r["intended_ns"] - 1),
    "sample: sent after done": cell("sent_ns", lambda _, r: r["done_ns"] + 1),
    "sample: intended before the run": cell("intended_ns", lambda *_: 5),
    "sample: done after the run": cell("done_ns", lambda ns, _: ns + _s(100_000)),
    "sample: attempt 0": cell("attempt", lambda *_: 0),
    "sample: outcome of no format": cell("outcome", lambda *_: "fine"),
    "sample: outcome null": cell("outcome", lambda *_: None),
    "sample: op null": cell("op", lambda *_: None),
    "sample: op of no format": cell("op", lambda *_: "scan"),
    "sample: population null": cell("population", lambda *_: None),
    "sample: population of no plan": cell("population", lambda *_: "atlantis"),
    "sample: route null": cell("route", lambda *_: None),
    "sample: answered, never sent": cell("sent_ns", lambda *_: None),
    "sample: done null": cell("done_ns", lambda *_: None),
    "sample: request null": cell("request", lambda *_: None),
    "sample: code out of range": out_of_range,
    "sample: twice": twice,
    "sample: a later attempt alone": second_only,
    "sample: asked again after its answer": asked_again,
    "samples: lost and not counted": lost_rows,
    **{
        f"samples: no column {name}": column(name, None)
        for name in ("intended_ns", "sent_ns", "done_ns", "population", "route", "op", "request",
                     "attempt", "status", "outcome")
    },
    "samples: times as numbers with a point": column("done_ns", lambda c: c.cast(pa.float64())),
    "samples: op null in every row": column("op", lambda c: pa.nulls(len(c), c.type)),
    "samples: words as numbers": column("outcome", lambda c: c.indices),
    **{
        f"generator: {key} {name}": generator(key, value)
        for key in (*NUMBERS, *LAGS)
        for name, value in NO_NUMBERS.items()
    },
    "generator: more planned": more("planned"),
    "generator: more sent": more("sent"),
    "generator: more given up": more("not_sent"),
    "generator: no final row": dead_worker,
    "generator: silent for seconds": silence,
    **{
        f"{where}: at_ns {name}": spoil
        for name, value in (("null", None), ("a float", 1e18), ("negative", -5), ("a word", "now"))
        for where, spoil in (
            ("timeline", timeline("phase.", at(value))),
            ("generator", generator("at_ns", value)),
        )
    },
    "timeline: no begin": timeline("run.begin", gone),
    "timeline: no end": timeline("run.end", gone),
    "timeline: phase without a begin": timeline("phase.begin", gone),
    "timeline: phase without an end": timeline("phase.end", gone),
    "timeline: phase twice": timeline("phase.", again),
    "timeline: phase cut short": timeline("phase.end", early),
    "timeline: phase begun late": timeline("phase.begin", late),
    "timeline: fault phase cut short": timeline("phase.end", cut_fault_phase),
    "timeline: fault not requested": timeline("fault.requested", gone),
    "timeline: fault not acknowledged": timeline("fault.acknowledged", gone),
    "timeline: fault not observed": timeline("fault.observed", gone),
    "timeline: fault not cleared": timeline("fault.cleared", gone),
    "timeline: fault without proof": timeline("fault.observed", unproven),
    "timeline: observed after the clearing": timeline("fault.observed", after_the_clearing),
    "timeline: observed before the request": timeline("fault.observed", before_the_request),
    "undo: no intent": _forget("intent"),
    "undo: never undone": _forget("undone"),
    "undo: no id": ledger(_nameless),
    "undo: another version": ledger(_newer),
    "journal: none": no_journal,
    "journal: no end": journal(lambda j: j.pop("status")),
    "journal: nothing played": journal(lambda j: j["run"].clear()),
    "journal: failed": journal(lambda j: j["run"][0].update(status="failed")),
    "journal: still open": journal(lambda j: j["stormgate"].update(open=["it"])),
}  # fmt: skip

FILES: dict[str, Callable[[Path, Rng], None]] = {
    f"{what}: {name}": file(name, change)
    for what, change, names in (
        ("a folder", _directory, ("*.ndjson", "plan.json", "samples/*.arrow", "journals/*.json")),
        ("4 GiB", _huge, ("*.ndjson", "plan.json", "samples/*.arrow", "journals/*.json")),
        ("deep", _deep, ("*.ndjson", "plan.json", "journals/*.json")),
        ("torn", _torn, ("*.ndjson", "plan.json", "samples/*.arrow", "journals/*.json")),
        ("no row", _no_row, ("*.ndjson",)),
        ("missing", _missing, ("plan.json", "timeline.ndjson", "generator.ndjson", "undo.ndjson",
                               "samples/*.arrow", "journals/*.json")),
        ("millions of values", _many, ("plan.json",)),
    )
    for name in names
} | {
    "plan: another version": _plan(schema="stormgate.plan/2"),
    "plan: changed": _plan(confidence=0.5),
    "plan: a field that is null": _plan(steady_s=None),
}  # fmt: skip


def written(run: MemoryRun, folder: Path) -> Path:
    """The run as a folder, its plan as it stands in memory now."""
    write_folder(run, folder)
    assert isinstance(run.plan, Plan)
    (folder / "plan.json").write_text(json.dumps(to_json(run.plan)))
    return folder
