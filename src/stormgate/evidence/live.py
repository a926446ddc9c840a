"""Reading evidence while it grows: each poll returns the timeline rows and sample blocks that
became whole since the last.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


class NdjsonTail:
    """New whole rows of an NDJSON file that may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def poll(self) -> list[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:  # none yet, or not ours to read
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        rows = []
        for line in whole.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
        return rows


class _GrowingFile(io.RawIOBase):
    """A file that pretends to end where its last whole message ends, so that a stream reader never
    sees half a block.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self.position)
        count = self._file.readinto(buffer) or 0
        self.position += count
        return count

    def tell(self) -> int:
        return self.position

    def close(self) -> None:
        self._file.close()
        super().close()


class _StreamTail:
    """New whole record batches of one Arrow IPC stream.

    pyarrow's reader cannot resume after running into the end of a file, so the encapsulated
    messages are counted first and the reader is asked for a batch only when all of it is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scanned = 0
        self._whole_batches = 0
        self._read_batches = 0
        self._schema_seen = False
        self._file: _GrowingFile | None = None
        self._reader: Any = None

    def poll(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        self._scan()
        if not self._schema_seen:
            return
        if self._reader is None:
            self._file = _GrowingFile(self._path)
            self._reader = pa.ipc.open_stream(pa.PythonFile(self._file, mode="r"))
        while self._read_batches < self._whole_batches:
            self._read_batches += 1
            yield self._reader.read_next_batch()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._reader = None

    def _scan(self) -> None:
        import pyarrow as pa

        size = self._path.stat().st_size
        with self._path.open("rb") as file:
            while self._scanned + 8 <= size:
                file.seek(self._scanned)
                prefix = file.read(8)
                metadata_bytes = int.from_bytes(prefix[4:], "little", signed=True)
                if metadata_bytes <= 0:  # end of stream
                    return
                if self._scanned + 8 + metadata_bytes > size:
                    return
                metadata = file.read(metadata_bytes)
                length = 8 + metadata_bytes + _body_length(metadata)
                if self._scanned + length > size:
                    return
                file.seek(self._scanned)
                kind = pa.ipc.read_message(file.read(length)).type
                self._schema_seen = self._schema_seen or kind == "schema"
                self._whole_batches += kind == "record batch"
                self._scanned += length


def _body_length(metadata: bytes) -> int:
    """`bodyLength` of an Arrow `Message` flatbuffer (Arrow columnar format, "Encapsulated message
    format").

    Fields of the table are version, header_type, header, bodyLength: the fourth slot of its vtable.
    """
    root = int.from_bytes(metadata[0:4], "little")
    vtable = root - int.from_bytes(metadata[root : root + 4], "little", signed=True)
    slot = vtable + 4 + 3 * 2
    if slot + 2 > vtable + int.from_bytes(metadata[vtable : vtable + 2], "little"):
        return 0
    offset = int.from_bytes(metadata[slot : slot + 2], "little")
    return (
        int.from_bytes(metadata[root + offset : root + offset + 8], "little", signed=True)
        if offset
        else 0
    )


class LiveSamples:
    """New whole sample blocks of all workers of a run folder, also of workers that appear later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "samples"
        self._tails: dict[str, _StreamTail] = {}

    def poll(self) -> list[tuple[str, pa.RecordBatch]]:
        """Blocks that became whole since the last poll, as (worker, record batch)."""
        for path in sorted(self._folder.glob("*.arrow")):
            self._tails.setdefault(path.stem, _StreamTail(path))
        return [(worker, batch) for worker, tail in self._tails.items() for batch in tail.poll()]

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()
