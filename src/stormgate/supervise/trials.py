"""The trials of one group of faults: one alone, or one and those that overlap it, each with its own
process of Chaos Toolkit, its own phases, and its own way back.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stormgate.evidence.live import NdjsonTail
from stormgate.evidence.write import TIMELINE, Timeline
from stormgate.model import Event, Fault, Plan
from stormgate.net.status import why_not_whole
from stormgate.supervise import children
from stormgate.supervise.terms import Screen
from stormgate.system.processes import spawn

TICK_S = 0.25
WHOLE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """The run that trials are a part of. `tick` looks at everything once and may end the run;
    `undo_leftovers` takes back what a process did not, of one fault or of all (None); phases that
    are over are added to `ended`.
    """

    plan: Plan
    root: Path
    folder: Path
    timeline: Timeline
    screen: Screen
    tick: Callable[[float], object]
    undo_leftovers: Callable[[str | None], object]
    ended: list[str]


@dataclass(slots=True)
class _Member:
    fault: Fault
    process: subprocess.Popen[bytes] | None = None
    begun: bool = False
    tried: bool = False
    phase: str | None = None
    requested_ns: int | None = None
    triggered: bool = False
    returned: bool = False
    left_out: bool = False
    until_s: float | None = None
    over: bool = False

    @property
    def name(self) -> str:
        return self.fault.name

    @property
    def is_past(self) -> bool:
        """Whether nothing can overlap it any more."""
        return self.over or self.returned or (self.begun and self.process is None)


@dataclass(slots=True)
class Trials:
    """Plays one group (stormgate.model.groups): the first fault is the one that others overlap."""

    group: Sequence[Fault]
    around: Around
    _members: list[_Member] = field(init=False)
    _rows: NdjsonTail = field(init=False)

    def __post_init__(self) -> None:
        self._members = [_Member(fault) for fault in self.group]
        self._rows = NdjsonTail(self.around.folder / TIMELINE)

    def run(self) -> None:
        """Until each fault was taken back and users were watched for its recovery. Raises what
        `tick` does.
        """
        self._begin(self._members[0])
        while any(not member.over for member in self._members):
            # Looked at before the timeline: a rollback announced in the last moment still opens
            # the recovery.
            gone = [
                one.name
                for one in self._members
                if one.process is not None and one.process.poll() is not None
            ]
            self.around.tick(self._pause_s())
            self._note_rows()
            for member in self._members:
                self._step(member, gone=member.name in gone)

    def processes(self) -> list[subprocess.Popen[bytes]]:
        """Those that break things now."""
        running = [member.process for member in self._members]
        return [one for one in running if one is not None and one.poll() is None]

    def withdraw(self) -> bool:
        """Have all that stands taken back before its time. False: nothing does."""
        running = self.processes()
        for process in running:
            process.send_signal(signal.SIGTERM)
        return bool(running)

    def close_phases(self) -> None:
        """End the phases that are open: the run was stopped."""
        for member in self._members:
            self._close(member)

    def forget_phases(self) -> None:
        """Leave the phases that are open without an end: what is not whole is not judged."""
        for member in self._members:
            member.phase = None

    def _pause_s(self) -> float:
        left = [m.until_s - time.monotonic() for m in self._members if m.until_s and not m.over]
        return max(0.0, min([TICK_S, *left]))

    def _note_rows(self) -> None:
        by_name = {member.name: member for member in self._members}
        for row in self._rows.poll():
            member = by_name.get(str(row.get("fault")))
            if member is None:
                continue
            event = row.get("event")
            if event == Event.FAULT_REQUESTED and member.requested_ns is None:
                member.requested_ns = int(row["at_ns"])
            elif event == Event.CHAOS_TRIGGERED:
                member.triggered = True
            elif event == Event.CHAOS_ROLLBACK:
                member.returned = True

    def _step(self, member: _Member, *, gone: bool) -> None:
        if member.over:
            return
        if not member.begun:
            self._join(member)
            return
        fault = member.fault
        if fault.when is not None and not member.tried:
            if member.triggered:
                self._open(member, f"fault[{fault.name}]", None)
            elif not member.left_out:
                self._stop_waiting(member)
        if (member.returned or gone) and _is_in(member, "fault"):
            self._open(member, f"recovery[{fault.name}]", fault.recovery_s)
        if gone:
            self._finish(member)
        if member.until_s is not None and time.monotonic() >= member.until_s:
            self._close(member)
            member.over = True

    def _join(self, member: _Member) -> None:
        """Begin a fault that overlaps another when it is time to, or leave it out."""
        other = self._overlapped(member)
        if other is None:
            return
        fault, injected_ns = member.fault, other.requested_ns
        if other.is_past:
            why = f"{other.name} was over before {fault.name} was to begin"
            if injected_ns is None:
                why = f"{other.name}, which it was to overlap, broke nothing"
            self._leave_out(member, why)
            member.over = True
        elif injected_ns is not None and time.monotonic_ns() >= injected_ns + _ns(fault.after_s):
            self._begin(member)

    def _stop_waiting(self, member: _Member) -> None:
        """What is to overlap another waits no longer than that one stands."""
        other = self._overlapped(member)
        if other is not None and other.is_past and member.process is not None:
            self._leave_out(member, f"{other.name} was taken back before it was triggered")
            member.process.send_signal(signal.SIGTERM)

    def _leave_out(self, member: _Member, why: str) -> None:
        member.left_out = True
        self.around.timeline.write(Event.CHAOS_SKIPPED, fault=member.name, why=why)

    def _overlapped(self, member: _Member) -> _Member | None:
        name = member.fault.overlaps
        return next((one for one in self._members if one.name == name), None)

    def _begin(self, member: _Member) -> None:
        fault, around = member.fault, self.around
        member.begun = True
        if fault.when is None:
            self._open(member, f"fault[{fault.name}]", None)
        elif member is self._members[0]:
            # While others stand, their phases say where its waiting belongs.
            self._open(member, f"waiting[{fault.name}]", None)
        around.timeline.write(Event.CHAOS_BEGIN, fault=fault.name, experiment=fault.experiment)
        member.process = spawn(
            children.chaos_argv(fault, around.root),
            env=children.environment(around.folder, around.root),
            cwd=around.root,
            log_path=around.folder / "logs" / f"chaos-{fault.name}.log",
            new_session=True,
            # If we are killed, faults on somebody's target must be undone; a lab of our own dies
            # with us, faults and all.
            death_signal=signal.SIGTERM if around.plan.target.provision is None else signal.SIGKILL,
        )

    def _finish(self, member: _Member) -> None:
        """Its process has ended: take back what it left, and when it was the last, see the target
        whole.
        """
        around, process = self.around, member.process
        if process is None:
            return
        around.timeline.write(
            Event.CHAOS_END,
            fault=member.name,
            exit_code=process.returncode,
            journal=f"journals/{member.name}.json",
        )
        member.process = None
        if any(one.process is not None for one in self._members):
            around.undo_leftovers(member.name)
        else:
            around.undo_leftovers(None)
            why = why_not_whole(around.plan.target, WHOLE_S, lambda: around.tick(TICK_S))
            around.timeline.write(Event.TARGET_WHOLE, whole=why is None, why=why)
            around.screen.event(
                "the target is whole again" if why is None else f"the target is not whole: {why}"
            )
        if _is_in(member, "recovery"):
            member.until_s = time.monotonic() + member.fault.recovery_s
        else:  # never triggered
            self._close(member)
            member.over = True

    def _open(self, member: _Member, name: str, seconds: float | None) -> None:
        self._close(member)
        member.phase = name
        member.tried = member.tried or name.startswith("fault[")
        self.around.timeline.write(Event.PHASE_BEGIN, phase=name)
        self.around.screen.phase(name, seconds)

    def _close(self, member: _Member) -> None:
        if member.phase is not None:
            self.around.timeline.write(Event.PHASE_END, phase=member.phase)
            self.around.ended.append(member.phase)
            member.phase = None


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _is_in(member: _Member, part: str) -> bool:
    return member.phase is not None and member.phase.startswith(f"{part}[")
