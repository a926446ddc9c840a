"""Looking at a fault as long as it is meant to stand: what somebody healed meanwhile has escaped.

One thread of the chaos process looks at every part every half second, from outside as the proof
did. One missed look is nothing on a busy machine: a part is lost when every look of a whole second
missed it, and then from the first of them on.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from stormgate.evidence.write import Timeline
from stormgate.faults import backends
from stormgate.faults.backends import Observation
from stormgate.faults.ledger import Entry
from stormgate.model import Event

EVERY_S = 0.5
MISSED_S = 1.0
_LEAST_MISSES = 2
_THREADS = 24

Look = Callable[[Entry], Observation]


def in_effect(entry: Entry) -> Observation:
    """One look from outside, as the proof's."""
    return backends.get(entry.part.backend).in_effect(entry.part, entry.record)


@dataclass(slots=True)
class Stretch:
    """What the looks at one part came to. Times in ns of the monotonic clock."""

    last_seen_ns: int
    first_miss_ns: int | None = None
    misses: int = 0
    saw: str = ""

    def note(self, seen: Observation, begun_ns: int, ended_ns: int) -> bool:
        """Take in one look; True when the part is lost by it."""
        if seen.seen:
            self.last_seen_ns, self.first_miss_ns, self.misses = ended_ns, None, 0
            return False
        if self.first_miss_ns is None:
            self.first_miss_ns, self.saw = begun_ns, seen.saw
        self.misses += 1
        return self.misses >= _LEAST_MISSES and ended_ns - self.first_miss_ns >= MISSED_S * 1e9


@dataclass(slots=True)
class Watch:
    """Watches entries from `begin` until `end`. Both may be called from any thread; after `end` has
    returned no look of these entries is written any more.
    """

    timeline: Timeline
    look: Look = in_effect
    _standing: dict[str, tuple[Entry, Stretch]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _wake: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self, entries: Iterable[Entry], seen_ns: int) -> None:
        """These stand, seen to at `seen_ns`."""
        with self._lock:
            for entry in entries:
                self._standing[entry.id] = entry, Stretch(seen_ns)
            if self._standing and self._thread is None:
                self._wake.clear()
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()

    def end(self, ids: Iterable[str] | None = None) -> None:
        """These are about to be taken back, or all: what is seen of them from now on is the undo's
        doing.
        """
        with self._lock:
            for identity in list(self._standing) if ids is None else ids:
                self._standing.pop(identity, None)
            if not self._standing:
                self._wake.set()

    def _run(self) -> None:
        with ThreadPoolExecutor(max_workers=_THREADS) as pool:
            while True:
                self._wake.wait(EVERY_S)
                with self._lock:
                    entries = [entry for entry, _ in self._standing.values()]
                    if not entries:
                        self._thread = None
                        return
                    self._wake.clear()
                list(pool.map(self._one, entries))

    def _one(self, entry: Entry) -> None:
        begun_ns = time.monotonic_ns()
        try:
            seen = self.look(entry)
        except Exception as error:  # whatever kept us from looking, we did not see it
            seen = Observation(False, f"{type(error).__name__}: {error}")
        with self._lock:
            standing = self._standing.get(entry.id)
            if standing is None:
                return
            if standing[1].note(seen, begun_ns, time.monotonic_ns()):
                del self._standing[entry.id]
                self._tell(entry, standing[1])

    def _tell(self, entry: Entry, stretch: Stretch) -> None:
        about: dict[str, Any] = {
            "fault": entry.fault,
            "component": entry.component,
            "mode": entry.asked,
            "id": entry.instance,
            "part": entry.part.name,
            "saw": stretch.saw,
            "last_seen_ns": stretch.last_seen_ns,
        }
        with contextlib.suppress(OSError):
            self.timeline.write(Event.FAULT_LOST, at_ns=stretch.first_miss_ns, **about)
