"""The phases of a run in which people break things when they like: written as the timeline says
that they did.

A phase begins with the very nanosecond in which its fault was requested, and its recovery with the
rollback, so that nothing that users met then lies outside of them. While one fault stands, another
makes no phase of its own: what each of them did could not be told apart, and the judge says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stormgate.evidence.write import Timeline
from stormgate.model import Event


@dataclass(slots=True)
class Course:
    """Writes the phases of one run. `faults`: those requested so far, in order."""

    timeline: Timeline
    phase: str | None = None
    faults: list[str] = field(default_factory=list)
    _standing: str | None = None

    def begin(self, name: str, at_ns: int | None = None) -> None:
        """End the phase under way, begin another."""
        self.end(at_ns)
        self.timeline.write(Event.PHASE_BEGIN, at_ns=at_ns, phase=name)
        self.phase = name

    def end(self, at_ns: int | None = None) -> None:
        """End the phase under way, if any."""
        if self.phase is not None:
            self.timeline.write(Event.PHASE_END, at_ns=at_ns, phase=self.phase)
            self.phase = None

    def note(self, row: Mapping[str, Any]) -> str | None:
        """Take in a row of the timeline; the phase that it began, if it did."""
        event, fault = row.get("event"), str(row.get("fault"))
        if event == Event.FAULT_REQUESTED and fault not in self.faults:
            self.faults.append(fault)
            if self._standing is None:
                self._standing = fault
                self.begin(f"fault[{fault}]", int(row["at_ns"]))
                return self.phase
        elif event in (Event.CHAOS_ROLLBACK, Event.CHAOS_END) and fault == self._standing:
            self._standing = None
            self.begin(f"recovery[{fault}]", int(row["at_ns"]))
            return self.phase
        return None
