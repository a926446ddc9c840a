"""Where a worker's evidence goes: straight into the run folder, over Locust's messages, or
nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from stormgate.evidence.operations import OPERATIONS
from stormgate.evidence.write import GENERATOR, Journal, Timeline
from stormgate.load.record.recorder import BlockFile


class Sink(Protocol):
    """What a worker hands its evidence to."""

    def block(self, data: bytes) -> None:
        """Bytes to append to the worker's samples stream."""

    def operations(self, data: bytes) -> None:
        """Bytes to append to the worker's stream of operations."""

    def generator(self, row: Mapping[str, Any]) -> None:
        """A row of generator truth."""

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """A row of the timeline; `fields` has its `at_ns`."""

    def close(self) -> None:
        """Nothing more will come."""


class FolderSink:
    """Writes into a run folder on this machine."""

    def __init__(self, folder: Path, worker: str) -> None:
        """Raises OSError when the folder cannot be written, FileExistsError when the worker's
        samples are already there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._worker = folder, worker
        self._samples = BlockFile(folder, worker)
        self._operations: BlockFile | None = None  # most workloads note none
        self._generator = Journal(folder / GENERATOR)
        self._timeline = Timeline(folder)

    def block(self, data: bytes) -> None:
        self._samples.write(data)

    def operations(self, data: bytes) -> None:
        if self._operations is None:
            self._operations = BlockFile(self._folder, self._worker, OPERATIONS)
        self._operations.write(data)

    def generator(self, row: Mapping[str, Any]) -> None:
        self._generator.append(row)

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        self._timeline.append({"at_ns": fields["at_ns"], "event": name, **fields})

    def close(self) -> None:
        self._samples.close()
        if self._operations is not None:
            self._operations.close()
        self._generator.close()
        self._timeline.close()


class NoSink:
    """For a run whose evidence nobody asked for: Locust's own statistics are all there is."""

    def block(self, data: bytes) -> None:
        """Dropped."""

    def operations(self, data: bytes) -> None:
        """Dropped."""

    def generator(self, row: Mapping[str, Any]) -> None:
        """Dropped."""

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Dropped."""

    def close(self) -> None:
        """Nothing to close."""


def free_worker_name(folder: Path, base: str) -> str:
    """`base`, or `base-2`, `base-3`, ... when earlier runs into the same folder (Locust's web UI)
    left samples of that name.
    """
    name, number = base, 2
    while (folder / "samples" / f"{name}.arrow").exists():
        name, number = f"{base}-{number}", number + 1
    return name
