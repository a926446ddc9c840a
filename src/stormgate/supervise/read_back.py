"""Reading back what users wrote, and looking for what must not be where it is: a process of its
own, `python -m stormgate.supervise.read_back`, from the first request to after the last.

While the load runs every store is looked through for the canaries, and in each recovery registers
are read from everywhere, again and again, to see when all have caught up. Once the timeline says
that the load has ended, every key that was written is read through every region's door and from
every store itself, and the process ends. Nothing is repeated; what could not be read is told with
its reason.
"""

from __future__ import annotations

import json
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from stormgate.evidence import open_run
from stormgate.evidence.live import NdjsonTail
from stormgate.evidence.operation_files import FinalFile, write_planned
from stormgate.evidence.operations import OPERATIONS, RESIDENCY
from stormgate.evidence.write import TIMELINE
from stormgate.model import Event, Plan
from stormgate.net import guard
from stormgate.net.allow import AllowList
from stormgate.net.deadline import Deadline
from stormgate.net.references import know_secrets
from stormgate.supervise.final_rows import FinalRows
from stormgate.supervise.looking import Looking
from stormgate.supervise.stores import (
    FAIL,
    INFO,
    KeyRead,
    StoreReader,
    UnreadableError,
    reader_of,
)
from stormgate.system.secrets import redacted

FINAL_PHASE = "final"
RECOVERY = "recovery["
_POLL_S = 0.1
# How long what did not let itself be looked through is left alone before the next try.
_RETRY_S = 2.0
# In a recovery: so many registers, so often, and so long each time.
_ROUND_KEYS = 50
_ROUND_EVERY_S = 1.5
_ROUND_WITHIN_S = 1.5
# What reads what a kind of write changed.
_READ_AS = {"write": "read", "append": "list", "transfer": "balance", "add": "count"}


def keys_written(folder: Path) -> dict[str, str]:
    """Every key that somebody tried to write in a run, and as what it is to be read, in the order
    of the keys.
    """
    import pyarrow.compute as pc

    found: dict[str, str] = {}
    for _, batch in open_run(folder).operations():
        kinds = batch.column("kind").cast("string")
        for kind, read_as in _READ_AS.items():
            mask = pc.equal(kinds, kind)
            columns = ["key", "to"] if kind == "transfer" else ["key"]
            for name in columns:
                keys = pc.unique(pc.filter(batch.column(name).cast("string"), mask))
                found.update(dict.fromkeys(filter(None, keys.to_pylist()), read_as))
    return dict(sorted(found.items()))


def planned_reads(
    keys: Mapping[str, str], readers: Sequence[StoreReader], most_keys: int, seed: int
) -> dict[str, list[str]]:
    """The keys to be read of each store, by its name: all that it should hold. Of a door that is
    asked key by key at most `most_keys`, drawn from the seed; and no accounts, whose sum only one
    answer can give.
    """
    drawn = list(keys)
    random.Random(seed).shuffle(drawn)  # noqa: S311 - a sample, no secret
    planned: dict[str, list[str]] = {}
    for reader in readers:
        store = reader.store
        held = [
            key
            for key in drawn
            if _holds(reader, key) and (reader.at_once or keys[key] != "balance")
        ]
        planned[store.name] = sorted(held if reader.at_once else held[:most_keys])
    return planned


def _holds(reader: StoreReader, key: str) -> bool:
    return not reader.store.holds or key.startswith(reader.store.holds)


class ReadBack:
    """The work of this process over one run folder. `environment` has what the target refers to."""

    def __init__(self, folder: Path, plan: Plan, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.plan = plan
        self.phase = "warmup"
        self._told_to_read = False
        self._parent = os.getppid()
        allow = AllowList(plan.target.allow)
        readers = [reader_of(store, allow, environment) for store in plan.target.stores]
        self._readers = [reader for reader in readers if reader.reads()]
        looked_at = [reader for reader in readers if reader.looks()]
        within_s = plan.target.final_read.scan_within_s
        self._looking = Looking(looked_at, plan.target.canaries, within_s)
        (folder / OPERATIONS).mkdir(exist_ok=True)
        self._residency = folder / OPERATIONS / RESIDENCY
        self._file: FinalFile | None = None
        self._round_keys: dict[str, str] = {}
        self._next_round = 0.0
        self._timeline = NdjsonTail(folder / TIMELINE)

    def run(self) -> None:
        """Until the final read is done, or whoever started this is gone."""
        final_read = self.plan.target.final_read
        next_look = time.monotonic()
        looked_in = ""
        silent: set[str] = set()
        next_try = next_look
        while not self._told_to_read:
            self.follow()
            # Each phase is looked at, its beginning left alone: what leaks needs a moment to.
            if time.monotonic() >= next_look:
                looked_in = self.phase
                silent = self.look()
                next_look = time.monotonic() + final_read.scan_every_s
                next_try = time.monotonic() + _RETRY_S
            elif silent and time.monotonic() >= next_try:
                # A fault may end before the next round.
                silent = self.look(only=silent)
                next_try = time.monotonic() + _RETRY_S
            elif self.phase != looked_in and next_look > time.monotonic() + 1.5:
                next_look = time.monotonic() + 1.5
            if self.phase.startswith(RECOVERY) and time.monotonic() >= self._next_round:
                self.read_round()
                self._next_round = time.monotonic() + _ROUND_EVERY_S
            time.sleep(_POLL_S)
            if os.getppid() != self._parent:
                return
        self.phase = FINAL_PHASE
        time.sleep(final_read.after_s)
        self.look()
        self.read()
        if self._file is not None:
            self._file.close()

    def follow(self) -> None:
        """Take in what the timeline says since the last time."""
        for row in self._timeline.poll():
            if row.get("event") == Event.PHASE_BEGIN:
                self.phase = str(row.get("phase"))
                self._round_keys = {}
            elif row.get("event") == Event.READ_BACK_BEGIN:
                self._told_to_read = True

    def look(self, only: Collection[str] | None = None) -> set[str]:
        """One look through every store (of `only`), into residency.ndjson; which did not answer."""
        silent: set[str] = set()
        if not self.plan.target.canaries:
            return silent
        with self._residency.open("a", encoding="utf-8") as file:
            for row in self._looking.rows(self.phase, only):
                if not row["scanned"]:
                    silent.add(str(row["store"]))
                if row.get("why") is not None:
                    row["why"] = redacted(row["why"])
                file.write(json.dumps(row) + "\n")
                file.flush()
        return silent

    def read_round(self) -> None:
        """Some registers, of every store that should hold them, into final.arrow: those that were
        written before the recovery began.
        """
        if not self._round_keys:
            registers = [
                key
                for key, read_as in keys_written(self.folder).items()
                if read_as == "read" and any(_holds(reader, key) for reader in self._readers)
            ]
            drawn = random.Random(self.plan.seed).sample(  # noqa: S311 - a sample, no secret
                registers, min(len(registers), _ROUND_KEYS)
            )
            self._round_keys = dict.fromkeys(drawn, "read")
        planned = planned_reads(self._round_keys, self._readers, _ROUND_KEYS, self.plan.seed)
        if any(planned.values()):
            self._write_down(self._round_keys, planned, _ROUND_WITHIN_S)

    def read(self) -> None:
        """Every key that was written, of every store that should hold it, into final.arrow."""
        keys = keys_written(self.folder)
        final_read = self.plan.target.final_read
        planned = planned_reads(keys, self._readers, final_read.most_keys, self.plan.seed)
        if not any(planned.values()):
            return
        write_planned(
            self.folder,
            [(key, store, keys[key]) for store, wanted in planned.items() for key in wanted],
        )
        self._write_down(keys, planned, final_read.within_s)

    def _write_down(
        self, read_as: Mapping[str, str], planned: Mapping[str, Sequence[str]], within_s: float
    ) -> None:
        self._file = self._file or FinalFile(self.folder)
        rows = FinalRows(self._file, read_as, self.phase)
        for reader, one in self._answers(planned, within_s):
            rows.add(reader, one)
        self._file.flush()

    def _answers(
        self, planned: Mapping[str, Sequence[str]], within_s: float
    ) -> Iterator[tuple[StoreReader, KeyRead]]:
        """What each store says of each key planned, if only that it did not in time."""
        done: queue.SimpleQueue[tuple[StoreReader, KeyRead]] = queue.SimpleQueue()
        left = {name: set(keys) for name, keys in planned.items() if keys}
        began_ns = time.monotonic_ns()
        readers = {reader.store.name: reader for reader in self._readers}
        deadline = Deadline(within_s)
        for name in left:
            thread = threading.Thread(
                target=_read_all, args=(readers[name], planned[name], deadline, done), daemon=True
            )
            thread.start()
        while any(left.values()):
            try:
                reader, one = done.get(timeout=deadline.left())
            except (queue.Empty, TimeoutError):
                break
            if one.key in left[reader.store.name]:
                left[reader.store.name].discard(one.key)
                yield reader, one
        late = f"no answer within {within_s:g} s"
        for name, keys in left.items():
            for key in sorted(keys):
                ended_ns = time.monotonic_ns()
                yield (
                    readers[name],
                    KeyRead(key, (), began_ns, ended_ns, error=late, outcome=INFO),
                )


def _read_all(
    reader: StoreReader,
    keys: Sequence[str],
    deadline: Deadline,
    done: queue.SimpleQueue[tuple[StoreReader, KeyRead]],
) -> None:
    """Read all keys of one store; of what a failure leaves, say that failure."""
    given: set[str] = set()
    began_ns = time.monotonic_ns()
    error: Exception | None = None
    try:
        for one in reader.read(keys, deadline):
            given.add(one.key)
            done.put((reader, one))
    except (UnreadableError, OSError) as problem:
        error = problem
    if error is None:
        return
    why = str(error) or type(error).__name__
    outcome = INFO if isinstance(error, TimeoutError) else FAIL
    if isinstance(error, UnreadableError):
        outcome = error.outcome
    for key in keys:
        if key not in given:
            ended_ns = time.monotonic_ns()
            done.put((reader, KeyRead(key, (), began_ns, ended_ns, error=why, outcome=outcome)))


def main() -> None:
    """Read back the run of $STORMGATE_EVIDENCE, as its plan says."""
    folder = Path(os.environ["STORMGATE_EVIDENCE"])
    plan = open_run(folder).plan
    if plan is None:
        raise SystemExit("plan.json is missing or does not fit")
    know_secrets(plan.target, os.environ, plan=plan)
    guard.install(guard.SocketGuard(AllowList(plan.target.allow), lambda _: None))
    os.nice(5)
    ReadBack(folder, plan, dict(os.environ)).run()
    sys.stdout.flush()
    # Threads that still wait for a store that does not answer end here.
    os._exit(0)


if __name__ == "__main__":
    main()
