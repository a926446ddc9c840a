"""Reading a run folder. Nothing here raises over missing or torn evidence: it is named in
`problems`, for the judge to weigh.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stormgate.evidence.laws import (
    machine_problem,
    reading_problem,
    residency_problem,
    time_of,
    trace_problem,
    undo_problem,
)
from stormgate.evidence.operations import FINAL, OPERATIONS, PLANNED, RESIDENCY
from stormgate.evidence.write import GENERATOR, MACHINE, READINGS, TIMELINE, TRACES, UNDO
from stormgate.model import PLAN_SCHEMA, Event, Plan, digest_of, from_json

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# The end-of-stream marker an Arrow IPC stream closes with: a file without it was cut, perhaps
# between two whole blocks.
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


# What is read of a folder of somebody else's. A worker writes about 300 bytes a second: this is
# more than a day of four.
MOST_BYTES = 128 << 20
MOST_DOCUMENT_BYTES = 64 << 20
MOST_VALUES = 12_000_000


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run. `end_ns` is None when the run died inside it."""

    name: str
    begin_ns: int
    end_ns: int | None


@dataclass(frozen=True, slots=True)
class SampleFile:
    """What a worker's file of samples or operations was found to hold after reading it through."""

    worker: str
    blocks: int
    rows: int
    ended: bool
    problem: str | None


def read_ndjson(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of an NDJSON file, and what was wrong with it (a torn last line, no object). A
    missing file has no rows.
    """
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    try:
        data = read_regular(path)
        _bounded(data)
    except FileNotFoundError:
        return rows, problems
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        return rows, [f"{path.name}: cannot be read ({why or error})"]
    lines = data.split(b"\n")
    if lines[-1]:
        problems.append(f"{path.name}:{len(lines)}: the last row is torn")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            problems.append(f"{path.name}:{number}: not a JSON object")
    return rows, problems


def read_regular(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file. Raises OSError for anything else (a pipe or a device would be
    waited for, or never end) and for one of more than `most_bytes`, unread.
    """
    if not path.is_file():
        if path.exists() or path.is_symlink():
            raise OSError(f"{path.name} is no regular file")
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        # One byte more than allowed: a file may grow, or say less than it holds.
        data = file.read(min(size, most_bytes) + 1) if size <= most_bytes else b""
    if size > most_bytes or len(data) > most_bytes:
        raise OSError(f"{max(size, len(data)):,} bytes, no more than {most_bytes:,} are read")
    return data


def read_json(path: Path, most_bytes: int = MOST_DOCUMENT_BYTES) -> dict[str, Any]:
    """The JSON object in a file of somebody else's. Raises OSError as `read_regular`, ValueError
    for anything that is no JSON object, however deep it is nested.
    """
    data = read_regular(path, most_bytes)
    try:
        _bounded(data)
        found = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def _bounded(data: bytes) -> None:
    """Raises ValueError for JSON whose values are so many that they would fill the memory: every
    one but the first follows one of these signs.
    """
    if sum(data.count(sign) for sign in (b",", b"[", b"{")) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")


def phases_of(timeline: list[dict[str, Any]]) -> list[Phase]:
    """The phases of a timeline in the order they began."""
    begun: dict[str, int] = {}
    ended: dict[str, int] = {}
    for row in timeline:
        if row.get("event") == Event.PHASE_BEGIN:
            begun.setdefault(str(row.get("phase")), int(row["at_ns"]))
        elif row.get("event") == Event.PHASE_END:
            ended[str(row.get("phase"))] = int(row["at_ns"])
    return [Phase(name, begin, ended.get(name)) for name, begin in begun.items()]


class Run:
    """One run folder. Files are read when first asked for; what is wrong with them gathers in
    `problems`.

    Raises FileNotFoundError when the folder does not exist.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such run folder")
        self.folder = folder.resolve()
        self.problems: list[str] = []
        self.plan_is_sealed = False
        self.sample_files: dict[str, SampleFile] = {}
        self.operation_files: dict[str, SampleFile] = {}

    @cached_property
    def plan(self) -> Plan | None:
        """The plan the run was made from; None (and a problem) when plan.json is missing or does
        not fit.
        """
        path = self.folder / "plan.json"
        try:
            data = read_json(path)
            if data.get("schema") != PLAN_SCHEMA:
                raise ValueError(
                    f"its schema is {str(data.get('schema'))[:60]!r}, this version reads "
                    f"{PLAN_SCHEMA!r}"
                )
            # Over what is on disk: a field that a later writer added within this version, another
            # order of keys or 25 for 25.0 do not change what was sealed.
            self.plan_is_sealed = data.get("digest") == digest_of(data)
            return from_json(Plan, data)
        except FileNotFoundError:
            self._problem("plan.json: missing")
        except (OSError, ValueError, RecursionError) as error:
            self._problem(f"plan.json: not a plan ({str(error).splitlines()[0][:200]})")
        return None

    @cached_property
    def timeline(self) -> list[dict[str, Any]]:
        return self._timed(TIMELINE)

    @cached_property
    def generator(self) -> list[dict[str, Any]]:
        return self._timed(GENERATOR)

    @cached_property
    def readings(self) -> list[dict[str, Any]]:
        return self._lawful(READINGS, reading_problem)

    @cached_property
    def machine(self) -> list[dict[str, Any]]:
        """Who had the processors (`machine_problem` is its law); none where nobody looked."""
        return self._lawful(MACHINE, machine_problem)

    @cached_property
    def traces(self) -> list[dict[str, Any]]:
        """The spans that the target told (`trace_problem` is their law)."""
        return self._lawful(TRACES, trace_problem)

    @cached_property
    def undo(self) -> list[dict[str, Any]]:
        return self._lawful(UNDO, undo_problem)

    @cached_property
    def journals(self) -> dict[str, dict[str, Any]]:
        """Chaos Toolkit's journals by fault name."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted((self.folder / "journals").glob("*.json")):
            try:
                found[path.stem] = read_json(path)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else None
                self._problem(f"journals/{path.name}: cannot be read ({why or error})")
        return found

    def phases(self) -> list[Phase]:
        return phases_of(self.timeline)

    def sample_paths(self) -> list[Path]:
        """The samples files, by worker name."""
        return sorted((self.folder / "samples").glob("*.arrow"))

    def batches(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Every whole block as (worker, record batch), worker by worker. Afterwards `sample_files`
        says how each file ended.
        """
        paths = self.sample_paths()
        if not paths:
            self._problem("samples: no file")
        for path in paths:
            yield from self._blocks(path, self.sample_files)

    def operations(self, *which: str) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Every whole block of `operations/` as (worker, record batch): of the files named
        (FINAL, PLANNED), or without any of all the load's. Afterwards `operation_files` says how
        each file ended.
        """
        for path in sorted((self.folder / OPERATIONS).glob("*.arrow")):
            if path.stem in which or (not which and path.stem not in (FINAL, PLANNED)):
                yield from self._blocks(path, self.operation_files)

    @cached_property
    def residency(self) -> list[dict[str, Any]]:
        """What was looked for in which store (`residency_problem` is its law)."""
        return self._lawful(f"{OPERATIONS}/{RESIDENCY}", residency_problem)

    def _blocks(
        self, path: Path, into: dict[str, SampleFile]
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        import pyarrow as pa

        worker, blocks, rows, problem = path.stem, 0, 0, None
        name = f"{path.parent.name}/{path.name}"
        if not path.is_file():
            self._problem(f"{name}: no regular file")
            return
        try:
            with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
                while True:
                    try:
                        batch = reader.read_next_batch()
                    except StopIteration:
                        break
                    blocks += 1
                    rows += batch.num_rows
                    yield worker, batch
                beyond = _beyond_the_end(source)
                if beyond > 0:
                    problem = f"{name}: {beyond:,} bytes after the end of the stream"
                    self._problem(problem)
        except (pa.ArrowException, OSError, EOFError) as error:
            problem = (
                f"{name}: torn after {blocks} whole blocks ({str(error).splitlines()[0][:120]})"
            )
            self._problem(problem)
        into[worker] = SampleFile(worker, blocks, rows, _ends_cleanly(path), problem)

    def samples(self) -> pd.DataFrame:
        """All samples as a DataFrame, one row an attempt, with a `worker` column; times in ns of
        the run's clock.
        """
        import pandas as pd

        frames = [batch.to_pandas().assign(worker=worker) for worker, batch in self.batches()]
        if not frames:
            return pd.DataFrame()
        whole: pd.DataFrame = pd.concat(frames, ignore_index=True)
        # Blocks carry dictionaries of their own, so pandas sees one categorical type per block and
        # falls back to object.
        for name in whole.columns:
            if whole[name].dtype == object:
                whole[name] = whole[name].astype("category")
        return whole

    def requests(self) -> pd.DataFrame:
        """One row per request, folded from its attempts (`evidence.notebook.requests`)."""
        from stormgate.evidence import notebook

        return notebook.requests(self)

    def plot_latency(
        self, by: str | None = "population", quantile: float = 0.95, every_s: float = 2.0
    ) -> Any:
        """A quantile of latency over time, a line per value of `by`, as matplotlib Axes."""
        from stormgate.evidence import notebook

        return notebook.plot(self, "latency", by, every_s, quantile)

    def plot_good(self, by: str | None = "population", every_s: float = 1.0) -> Any:
        """The share of right answers over time, as matplotlib Axes."""
        from stormgate.evidence import notebook

        return notebook.plot(self, "good", by, every_s)

    def plot_rate(self, by: str | None = None, every_s: float = 1.0) -> Any:
        """Requests per second by intended start over time, as matplotlib Axes."""
        from stormgate.evidence import notebook

        return notebook.plot(self, "rate", by, every_s)

    def _timed(self, name: str) -> list[dict[str, Any]]:
        """The rows of a file whose every row has a time; one without is named and left out."""
        rows = self._rows(name, required=True)
        timed = [row for row in rows if time_of(row) is not None]
        if len(timed) != len(rows):
            odd = next(i for i, row in enumerate(rows, start=1) if time_of(row) is None)
            self._problem(
                f"{name}: row {odd}: at_ns is no time in ns ({len(rows) - len(timed)} such rows)"
            )
        return timed

    def _lawful(
        self, name: str, problem_of: Callable[[Mapping[str, Any]], str | None]
    ) -> list[dict[str, Any]]:
        """The rows of a file that need not be there; one that breaks its law is named and left
        out.
        """
        kept: list[dict[str, Any]] = []
        broken: list[tuple[int, str]] = []
        for number, row in enumerate(self._rows(name, required=False), start=1):
            problem = problem_of(row)
            if problem is None:
                kept.append(row)
            else:
                broken.append((number, problem))
        if broken:
            number, problem = broken[0]
            more = f" ({len(broken)} such rows)" if len(broken) > 1 else ""
            self._problem(f"{name}: row {number}: {problem}{more}")
        return kept

    def _rows(self, name: str, *, required: bool) -> list[dict[str, Any]]:
        path = self.folder / name
        if required and not path.exists():
            self._problem(f"{name}: missing")
        rows, problems = read_ndjson(path)
        for problem in problems:
            self._problem(problem)
        return rows

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)


def _beyond_the_end(source: Any) -> int:
    """How many bytes follow the end-of-stream marker that was just read; 0 where none was."""
    end = source.tell()
    if end < len(END_OF_STREAM):
        return 0
    source.seek(end - len(END_OF_STREAM))
    is_marked = source.read(len(END_OF_STREAM)) == END_OF_STREAM
    return int(source.size()) - end if is_marked else 0


def _ends_cleanly(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(END_OF_STREAM), 2)
            return file.read() == END_OF_STREAM
    except OSError:
        return False
