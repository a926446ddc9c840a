"""Looking through stores for words that must not leave their place."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from stormgate.net.deadline import Deadline
from stormgate.supervise.stores import StoreReader, UnreadableError

_APART_S = 0.05


class Looking:
    """Looks through all stores for all canaries, each store in a thread of its own that is never
    joined: one that does not answer keeps nobody from the others.
    """

    def __init__(
        self, readers: Sequence[StoreReader], canaries: Mapping[str, str], within_s: float
    ) -> None:
        self._readers = readers
        self._canaries = canaries
        self._within_s = within_s
        self._under_way: dict[str, threading.Thread] = {}

    def rows(self, phase: str, only: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
        """A row for each canary and store; of the stores in `only`, where that is given."""
        done: queue.SimpleQueue[list[dict[str, Any]]] = queue.SimpleQueue()
        waiting = set()
        for reader in self._readers:
            if only is not None and reader.store.name not in only:
                continue
            name = reader.store.name
            if (before := self._under_way.get(name)) is not None and before.is_alive():
                yield from self._unscanned(reader, phase, "still waits for its last answer")
                continue
            thread = threading.Thread(
                target=lambda reader=reader: done.put(list(self._look(reader, phase))), daemon=True
            )
            self._under_way[name] = thread
            thread.start()
            waiting.add(name)
            # One after the other rather than all at once: who measures shares this machine.
            time.sleep(_APART_S)
        deadline = Deadline(self._within_s + 0.5)
        while waiting:
            try:
                rows = done.get(timeout=deadline.left())
            except (queue.Empty, TimeoutError):
                break
            waiting.discard(rows[0]["store"])
            yield from rows
        for reader in self._readers:
            if reader.store.name in waiting:
                yield from self._unscanned(
                    reader, phase, f"did not answer within {self._within_s:g} s"
                )

    def _look(self, reader: StoreReader, phase: str) -> Iterator[dict[str, Any]]:
        try:
            looked = reader.look(list(self._canaries.values()), Deadline(self._within_s))
        except (UnreadableError, OSError) as error:
            yield from self._unscanned(reader, phase, str(error) or type(error).__name__)
            return
        for group, canary in self._canaries.items():
            yield {
                **self._about(reader, phase, group),
                "scanned": True,
                "found": canary in looked.found,
                "searched": looked.searched,
                "control": looked.control,
                "why": looked.found.get(canary),
            }

    def _unscanned(self, reader: StoreReader, phase: str, why: str) -> Iterator[dict[str, Any]]:
        for group in self._canaries:
            yield {**self._about(reader, phase, group), "scanned": False, "why": why}

    def _about(self, reader: StoreReader, phase: str, group: str) -> dict[str, Any]:
        return {
            "at_ns": time.monotonic_ns(),
            "class": group,
            "canary": self._canaries[group],
            "store": reader.store.name,
            "region": reader.store.region,
            "phase": phase,
        }
