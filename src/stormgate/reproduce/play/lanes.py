"""One part of the target in one mode: broken, changed in place, kept standing and taken back. Each
change is told with how late it was.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stormgate.faults import backends
from stormgate.faults.backends import FaultRequest, Record
from stormgate.faults.context import Context
from stormgate.faults.errors import ChaosError, Halted
from stormgate.faults.hands.halt import not_halted
from stormgate.faults.ledger import Entry
from stormgate.faults.proof import wait_for
from stormgate.faults.undo import undo_entries
from stormgate.model import Event
from stormgate.reproduce.play.resolve import LanePlan, LaneSpan

# What something that runs needs to be looked at and written down before it is broken.
PREPARE_S = 0.5
_UNDO_S = 30.0
_PROOF_S = 5.0


@dataclass(frozen=True, slots=True)
class MoveTold:
    """One change: at which second of the schedule it was due, how late it was done (ms), what was
    done (`params` None: taken back), and what went wrong, if anything.
    """

    at_s: float
    late_ms: float
    where: str
    mode: str
    params: Mapping[str, Any] | None
    source: str
    problem: str = ""


@dataclass(slots=True)
class Lane:
    """A lane being played. `standing`: the span whose fault ought to stand now."""

    plan: LanePlan
    context: Context
    entry: Entry | None = None
    record: Record = field(default_factory=dict)
    standing: LaneSpan | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    told: set[str] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    unseen: dict[int, str] = field(default_factory=dict)

    def draft(self, params: Mapping[str, Any]) -> Entry:
        """Look at the part as it is, changing nothing. Raises ChaosError."""
        identity = secrets.token_hex(4)
        part = self.plan.part
        request = FaultRequest(
            part=part,
            mode=self.plan.mode,
            params=params,
            token=identity,
            target=self.context.target,
        )
        record = backends.get(part.backend).plan(request)
        return Entry(
            id=identity,
            instance=identity,
            batch=identity,
            fault=self.context.fault,
            component=part.name,
            asked=self.plan.mode,
            part=part,
            mode=self.plan.mode,
            record=record,
        )

    def take(self, entry: Entry) -> None:
        """This entry, which stands in the ledger, is what is broken from now on."""
        self.entry, self.record = entry, entry.record

    def prepare(self, span: LaneSpan) -> str:
        """Have an entry in the ledger for this span; why there can be none, else ""."""
        if self.entry is not None:
            return ""
        try:
            entry = self.draft(span.params)
            self.context.ledger.intend([entry])
        except (ChaosError, OSError) as error:
            return str(error)
        self.take(entry)
        return ""

    def strike(self, span: LaneSpan) -> str:
        """Break it as the span says, in place where it is broken already; why not, else ""."""
        part, backend = self.plan.part, backends.get(self.plan.part.backend)
        entry = self.entry
        if entry is None:
            return "it could not be prepared"
        first = entry.id not in self.told
        with self.lock:
            record = self.record
            if record.get("params") != span.params:
                record = backend.changed(part, self.record, span.params) or record
            if first:
                self._tell(Event.FAULT_REQUESTED, entry)
            # Whatever comes of it, it has to be made to stand, and taken back.
            self.record, self.standing = record, span
            try:
                # What is changed while somebody halts is found by whoever halts, or not changed.
                with not_halted():
                    backend.apply(part, record, self.context.stopping)
            except Halted as error:
                self.standing = None
                return str(error)
            except ChaosError as error:
                if not self._kept_at_once(standing=True):
                    return str(error)
        if first:
            self.told.add(entry.id)
            self.context.ledger.applied([entry])
            self._tell(Event.FAULT_ACKNOWLEDGED, entry)
        return ""

    def _kept_at_once(self, *, standing: bool) -> bool:
        """Whether what was lost could be made again right now, and so what was wanted be done."""
        try:
            return self._keep(standing=standing) != ""
        except ChaosError:
            return False

    def relieve(self) -> str:
        """Take it back; a link stays planned for the next span, what runs is looked at anew then.
        Why it could not be, else "".
        """
        entry = self.entry
        if entry is None:
            return ""
        with self.lock:
            self.standing = None
            try:
                backends.get(self.plan.part.backend).undo(self.plan.part, self.record, _UNDO_S)
            except ChaosError as error:
                if not self._kept_at_once(standing=False):
                    return str(error)
        if not self.plan.is_link:
            try:
                undo_entries(self.context, [entry])
            except ChaosError as error:
                return str(error)
            self.entry = None
        return ""

    def keep(self) -> str:
        """Make again what was lost meanwhile; what was, in words. Raises ChaosError while that
        cannot be done.
        """
        with self.lock:
            if self.entry is None:
                return ""
            return self._keep(standing=self.standing is not None)

    def _keep(self, *, standing: bool) -> str:
        backend = backends.get(self.plan.part.backend)
        if not standing:
            return backend.keep(self.plan.part, self.record, standing=False)
        with not_halted():
            return backend.keep(self.plan.part, self.record, standing=True)

    def prove(self, at: int, span: LaneSpan, stop: threading.Event) -> None:
        """Look from outside whether the span's fault has its effect, for as long as it stands."""
        entry, record = self.entry, self.record
        if entry is None:
            return
        backend = backends.get(self.plan.part.backend)
        patience_s = min(max(_PROOF_S, backend.proof_s), span.end_s - span.start_s)
        seen, at_ns = wait_for(
            lambda: backend.in_effect(self.plan.part, record), patience_s, stop=stop
        )
        if self.standing is not span and not seen.seen:
            self.unseen.setdefault(at, f"{self.plan.name}: it stood too short to be seen")
            return
        if not seen.seen:
            self.unseen[at] = f"{self.plan.name}: not seen: {seen.saw}"
            return
        if not self.seen:
            proof = [{"component": self.plan.part.name, "saw": seen.saw, "at_ns": at_ns}]
            self._tell(Event.FAULT_OBSERVED, entry, at_ns=at_ns, proof=proof)
        self.seen.add(at)

    def _tell(self, event: Event, entry: Entry, **more: Any) -> None:
        self.context.timeline.write(
            event,
            fault=entry.fault,
            component=entry.component,
            mode=entry.asked,
            id=entry.instance,
            **more,
        )


def play_lane(
    lane: Lane,
    begun: float,
    until_s: float,
    stop: threading.Event,
    tell: Callable[[MoveTold], object],
    prove: Callable[[Lane, int, LaneSpan], object],
) -> None:
    """Play a lane's spans at their times after `begun` (monotonic seconds), those that begin or end
    by `until_s`; ends early when `stop` is set, leaving what stands to be taken back.
    """

    def wait(second: float) -> bool:
        left = begun + second - time.monotonic()
        return stop.is_set() if left <= 0 else stop.wait(left)

    def told(at_s: float, done: float, params: Mapping[str, Any] | None, why: str) -> None:
        late_ms = round(max(0.0, done - begun - at_s) * 1000, 1)
        source = span.segment.source
        move = MoveTold(at_s, late_ms, lane.plan.part.name, lane.plan.mode, params, source, why)
        tell(move)

    for at, span in enumerate(lane.plan.spans):
        if span.start_s > until_s or wait(span.start_s - PREPARE_S):
            return
        problem = lane.prepare(span)
        if wait(span.start_s):
            return
        problem = problem or lane.strike(span)
        told(span.start_s, time.monotonic(), dict(span.params), problem)
        if not problem:
            prove(lane, at, span)
        if span.end_s > until_s:
            return
        if lane.plan.goes_on(at) and lane.plan.is_link:
            continue
        if wait(span.end_s):
            return
        # What runs takes its time to be back; on time is when that is begun.
        now = time.monotonic()
        problem = lane.relieve()
        told(span.end_s, time.monotonic() if lane.plan.is_link else now, None, problem)
