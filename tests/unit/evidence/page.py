"""A run folder written by somebody who has only docs/evidence.md: everything but the order of
phases and the arithmetic of a healthy load is read from the page's own tables.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

PAGE = Path(__file__).resolve().parents[3] / "docs" / "evidence.md"
S = 1_000_000_000
BEGIN_NS = 5_000 * S
FAULT_S = 8


@dataclass(frozen=True)
class Row:
    """One name of one row of a table; `cells` are the row's other cells by heading."""

    name: str
    cells: dict[str, str]

    @property
    def needed(self) -> bool:
        return self.cells.get("needed") == "yes"

    @property
    def example(self) -> Any:
        """The example as a value. Raises ValueError where the page gives none."""
        return json.loads(self.cells["example"].strip("`"))

    @property
    def has_example(self) -> bool:
        return bool(self.cells.get("example"))


def tables(heading: str) -> list[list[Row]]:
    """The tables of a section of the page, each row once per name in its first cell."""
    text = PAGE.read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found: list[list[Row]] = []
    head: list[str] | None = None
    for line in section.splitlines():
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if head is None:
            head = cells
            found.append([])
        elif not set(line) <= set("|-: "):
            rest = dict(zip(head[1:], cells[1:], strict=True))
            for name in re.findall(r"`([^`]+)`", cells[0]):
                found[-1].append(Row(name, rest))
    return found


def example(rows: list[Row], *, everything: bool = False) -> dict[str, Any]:
    """An object made of a table's examples: of what is needed, or of all there are."""
    return {r.name: r.example for r in rows if (r.needed or everything) and r.has_example}


def seal(plan: dict[str, Any]) -> dict[str, Any]:
    """With its digest, as the page says to take it."""
    rest = {key: value for key, value in plan.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**rest, "digest": hashlib.sha256(text.encode()).hexdigest()}


@dataclass
class Outside:
    """What the outsider is about to write; change it, then `write`."""

    plan: dict[str, Any]
    generator: list[dict[str, Any]]
    timeline: list[dict[str, Any]]
    undo: list[dict[str, Any]]
    journals: dict[str, dict[str, Any]]
    columns: dict[str, pa.Array]
    readings: list[dict[str, Any]]

    def write(self, folder: Path) -> Path:
        (folder / "samples").mkdir(parents=True)
        (folder / "journals").mkdir()
        plan = seal(self.plan) if "digest" in self.plan else self.plan
        (folder / "plan.json").write_text(json.dumps(plan, indent=2))
        for name in ("generator", "timeline", "undo", "readings"):
            text = "".join(json.dumps(row) + "\n" for row in getattr(self, name))
            (folder / f"{name}.ndjson").write_text(text)
        for name, journal in self.journals.items():
            (folder / "journals" / f"{name}.json").write_text(json.dumps(journal))
        schema = pa.schema(
            [(name, column.type) for name, column in self.columns.items()],
            {"schema": "stormgate.samples/1", "worker": "w0"},
        )
        with (
            pa.OSFile(str(folder / "samples" / "w0.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, schema) as out,
        ):
            out.write_batch(pa.record_batch(list(self.columns.values()), schema=schema))
        return folder


def healthy(*, everything: bool = False) -> Outside:
    """A healthy run of one population over one fault: of the needed fields alone, or of all."""
    top, target, population, load, fault, objective, _ = tables("plan.json")
    made = [example(t, everything=everything) for t in (top, target, population, load, fault)]
    plan, the_target, who, the_load, the_fault = made
    asked = example(objective, everything=everything)
    plan |= {"target": {**the_target, "populations": [who]}, "load": the_load, "digest": ""}
    plan |= {"faults": [the_fault], "objectives": [asked]}
    name = the_fault["name"]
    phases = [("warmup", plan["warmup_s"]), ("steady", plan["steady_s"])]
    phases += [(f"fault[{name}]", FAULT_S), (f"recovery[{name}]", the_fault["recovery_s"])]
    timeline, fault_ns, end_ns = _timeline(phases, name, everything=everything)
    rate = the_load["rate_per_s"]
    return Outside(
        plan,
        _generator(end_ns, rate, everything=everything),
        timeline,
        _undo(everything=everything),
        {name: example(tables("journals/<fault>.json")[0], everything=everything)},
        _columns(round((end_ns - BEGIN_NS) / S * rate), rate, who["name"], everything=everything),
        [{**example(tables("readings.ndjson")[0], everything=everything), "at_ns": fault_ns}],
    )


def _timeline(
    phases: list[tuple[str, float]], fault: str, *, everything: bool
) -> tuple[list[dict[str, Any]], int, int]:
    events, fields = tables("timeline.ndjson")
    words = {row.name: row.example for row in fields if row.has_example} | {"fault": fault}
    rows: list[dict[str, Any]] = [{"at_ns": BEGIN_NS, "event": "run.begin"}]
    at = fault_ns = BEGIN_NS
    for phase, seconds in phases:
        rows.append({"at_ns": at, "event": "phase.begin", "phase": phase})
        if phase.startswith("fault["):
            fault_ns = at
        at += round(seconds * S)
        rows.append({"at_ns": at, "event": "phase.end", "phase": phase})
    step = fault_ns
    for row in events:
        if row.cells["needed"] == "per fault":
            step += S
            has = re.findall(r"`(\w+)`", row.cells["fields"])
            if everything:
                has += re.findall(r"`(\w+)`", row.cells["may have"])
            rows.append({"at_ns": step, "event": row.name, **{key: words[key] for key in has}})
    rows.append({"at_ns": at + S, "event": "run.end"})
    return rows, fault_ns, at


def _generator(end_ns: int, rate: int, *, everything: bool) -> list[dict[str, Any]]:
    fields = tables("generator.ndjson")[0]
    base = example(fields, everything=everything)
    rows = []
    for second in range((end_ns - BEGIN_NS) // S):
        counts = {"planned": rate, "sent": rate, "rows": rate * (second + 1)}
        row = {**base, "at_ns": BEGIN_NS + (second + 1) * S, **counts, "final": False}
        if everything:
            row |= {"seq": second, "completed": rate}
        rows.append(row)
    rows[-1]["final"] = True
    return rows


def _undo(*, everything: bool) -> list[dict[str, Any]]:
    row = example(tables("undo.ndjson")[0], everything=everything)
    return [row | {"step": step} for step in ("intent", "applied", "undone")]


def _columns(count: int, rate: int, population: str, *, everything: bool) -> dict[str, pa.Array]:
    intended = [BEGIN_NS + i * S // rate for i in range(count)]
    values: dict[str, list[Any]] = {
        "intended_ns": intended,
        "sent_ns": [t + 100_000 for t in intended],
        "done_ns": [t + 20_000_000 for t in intended],
        "population": [population] * count,
        "route": ["home"] * count,
        "op": ["read"] * count,
        "request": list(range(count)),
        "attempt": [1] * count,
        "status": [200] * count,
        "outcome": ["ok"] * count,
    }
    found = {}
    for row in tables("samples/<worker>.arrow")[0]:
        if not row.needed and not everything:
            continue
        kind = row.cells["type"].removesuffix(", nullable")
        words = "dictionary" in kind
        values.setdefault(row.name, ["x"] * count if words else [1] * count)
        array = pa.array(values[row.name], pa.string() if words else getattr(pa, kind)())
        found[row.name] = array.dictionary_encode() if words else array
    return found
