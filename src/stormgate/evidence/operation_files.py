"""Writing `operations/`: rows in, Arrow blocks out, so that a file reads up to its last whole block
after a kill -9. For what is read back in the end, and for other tools; load workers write columns
of their own (load/record/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stormgate.evidence.operations import (
    FINAL,
    KINDS,
    LONGEST_ERROR,
    LONGEST_KEY,
    OPERATIONS,
    OUTCOMES,
    PLANNED,
    arrow_schema,
    planned_schema,
)
from stormgate.system.secrets import redacted


def rows_batch(rows: Sequence[Mapping[str, Any]], schema: Any) -> Any:
    """Rows as one record batch of a schema; a column that a row has not is null there."""
    import pyarrow as pa

    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class OperationFile:
    """`operations/<worker>.arrow` of a run folder. Raises FileExistsError when it is there already,
    OSError when it cannot be written.
    """

    def __init__(self, folder: Path, worker: str, schema: Any = None) -> None:
        import pyarrow as pa

        (folder / OPERATIONS).mkdir(exist_ok=True)
        self.rows = 0
        self._schema = schema or arrow_schema(worker)
        self._waiting: list[dict[str, Any]] = []
        self._file = (folder / OPERATIONS / f"{worker}.arrow").open("xb", buffering=0)
        self._writer = pa.ipc.new_stream(self._file, self._schema)

    def add(self, kind: str, key: str, **fields: Any) -> int:
        """One operation with the columns of docs/evidence.md; its op, counted from 1. Raises
        ValueError for a kind or outcome that is none, or a field that is no column.
        """
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
        if fields.get("outcome") not in OUTCOMES:
            raise ValueError(f"outcome {fields.get('outcome')!r} is not one of {OUTCOMES}")
        unknown = sorted(set(fields) - set(self._schema.names))
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no column of the operations")
        self.rows += 1
        if fields.get("error") is not None:
            fields["error"] = redacted(str(fields["error"]))[:LONGEST_ERROR]
        key = redacted(key)[:LONGEST_KEY]
        self._waiting.append({"op": self.rows, "kind": kind, "key": key, **fields})
        return self.rows

    def flush(self) -> None:
        """Write what was added since the last call as one block."""
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, []
        self._writer.write_batch(rows_batch(rows, self._schema))

    def close(self) -> None:
        """Write what waits, and the end of the stream: without it the file counts as cut."""
        self.flush()
        self._writer.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:  # cut is what it then is
            self._file.close()


class FinalFile(OperationFile):
    """`operations/final.arrow`: what was read back, with the `store` and the `phase`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, FINAL, arrow_schema(FINAL, final=True))


def write_planned(folder: Path, planned: list[tuple[str, str, str]]) -> None:
    """`operations/planned.arrow` from (key, store, kind), whole: what is to be read back, written
    before anything of it is read. Raises FileExistsError when it is there already.
    """
    import pyarrow as pa

    schema = planned_schema()
    (folder / OPERATIONS).mkdir(exist_ok=True)
    rows = [
        {"key": redacted(key)[:LONGEST_KEY], "store": store, "kind": kind}
        for key, store, kind in planned
    ]
    with (
        (folder / OPERATIONS / f"{PLANNED}.arrow").open("xb") as file,
        pa.ipc.new_stream(file, schema) as writer,
    ):
        writer.write_batch(rows_batch(rows, schema))
