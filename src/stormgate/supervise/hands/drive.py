"""A run without a course of its own: load and evidence as in a gate, while people (or a script)
break things through its keeper. Its phases are those that happened.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stormgate.evidence.live import NdjsonTail
from stormgate.evidence.read import phases_of, read_ndjson
from stormgate.evidence.write import TIMELINE
from stormgate.faults.hands.asking import Keeper, NotKept, ask
from stormgate.model import LEFT_OUT, Event, Fault, Plan
from stormgate.net.status import read_status, why_not_whole
from stormgate.supervise import children, conclude
from stormgate.supervise.hands.course import Course
from stormgate.supervise.hands.gone import Deserted
from stormgate.supervise.hands.kept import BY_HAND
from stormgate.supervise.hands.starting import open_within, spawn_within
from stormgate.supervise.supervisor import CHAOS_UNDO_S, WHOLE_AT_END_S, Supervisor
from stormgate.supervise.terms import Options, RunStopped, Screen
from stormgate.supervise.trials import WHOLE_S

# After the last fault users are watched so long, unless the gate says longer.
RECOVERY_S = 5.0
# Of the whole time, at most so much is the calm end.
_FINAL_SHARE = 0.1
NOT_THE_GATE = f"driven by hand: the gate's own course {LEFT_OUT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Driving:
    """How long (s, without the warmup), by whom, and where Locust's own web page is to be (None:
    nowhere).
    """

    for_s: float
    by: str
    web_port: int | None = None


def driven_plan(plan: Plan, for_s: float) -> Plan:
    """The plan of a gate, driven by hand for `for_s` seconds: what it measures and asks, none of
    its faults, and never a PASS of it.
    """
    final_s = min(plan.final_s, for_s * _FINAL_SHARE)
    return replace(
        plan,
        gate=f"{plan.gate}-load",
        faults=(),
        final_s=final_s,
        steady_s=max(0.0, for_s - final_s),
        short=(*plan.short, NOT_THE_GATE),
        retry_inconclusive=0,
        stop="planned",
    )


class Drive(Supervisor):
    """One such run. Use from the main thread."""

    def __init__(self, plan: Plan, options: Options, screen: Screen, driving: Driving) -> None:
        super().__init__(driven_plan(plan, driving.for_s), options, screen)
        self._driving = driving
        self._load_argv = self._argv
        self._recovery_s = max([RECOVERY_S, *(fault.recovery_s for fault in plan.faults)])
        self._course: Course | None = None
        self._rows: NdjsonTail | None = None
        self._ends_at: float | None = None
        self._deserted: Deserted | None = None
        self._gone = False
        self.keeper: Keeper | None = None

    def withdraw(self, by: str) -> bool:
        """Take back every fault that stands; the run goes on. From any thread."""
        if self.keeper is None or self._stopping:
            return False
        self._timeline.write(Event.CHAOS_WITHDRAWN, by=by)
        with contextlib.suppress(NotKept):
            ask(self.keeper, {"op": "undo", "by": by})
        return True

    def _argv(self, plan: Plan, folder: Path, root: Path) -> Sequence[str]:
        argv = children.load_argv(plan, folder, root)
        if self._driving.web_port is None:
            return argv
        left = [word for word in argv if word not in ("--headless", "--only-summary")]
        port = str(self._driving.web_port)
        return [*left, "--autostart", "--web-host", "127.0.0.1", "--web-port", port]

    def _bring_up_target(self) -> None:
        super()._bring_up_target()
        target, folder = self._plan.target, self.folder
        self._deserted = Deserted(target, lambda: children.left_open(folder))
        # It takes its time on a busy machine, and the warmup has some.
        self._chaos = spawn_within(self.folder, self._driving.by)

    def _trial(self) -> None:
        self._set_out()
        self._begin_phase("steady", self._left_s())
        self._rows = NdjsonTail(self.folder / TIMELINE)
        self._course = Course(self._timeline, phase="steady")
        if self._chaos is not None:
            self.keeper = open_within(self._chaos, self._plan, self.folder, self._tick)
        self._screen.event(f"faults by hand go into {self.folder}: stormgate inject …")
        self._middle()
        self._close_keeper()
        self._course.end()
        self._phase = self._rows = None
        self._come_home()

    def _middle(self) -> None:
        """What happens between the warmup and the calm end: here, whatever people do."""
        self._wait(self._plan.steady_s)

    def _left_s(self) -> float | None:
        """How long people have yet, as far as that is known, s."""
        if self._ends_at is None:
            self._ends_at = time.monotonic() + self._plan.steady_s
        return max(0.0, self._ends_at - time.monotonic())

    def _withdraw_faults(self) -> None:
        """As after a gate; but a target that is gone, with every fault of ours taken back or gone
        with it, is no fault that stayed: that is said, and the run is an ERROR, not DIRTY.
        """
        if self._chaos is not None:
            children.stop_telling(self._chaos, CHAOS_UNDO_S, self._tick)
            self._chaos = None
        self._undo_leftovers()
        if self._gone and not children.left_open(self.folder):
            return
        if not children.has_ledger(self.folder):
            return
        target = self._plan.target
        why = why_not_whole(target, WHOLE_AT_END_S, self._tick)
        if why is None:
            return
        if children.left_open(self.folder) or read_status(target).reached:
            told = f"the target is not whole: {why}"
            self._timeline.write(Event.FAULT_UNDO_FAILED, why=told)
            return
        told = f"the target is gone, every fault is taken back: {why}"
        self._timeline.write(Event.ERROR, why=told, by="supervisor")

    def _close_keeper(self) -> None:
        """Nothing is broken from here on; users are watched until they are served again."""
        if self.keeper is not None:
            try:
                question = {"op": "close", "by": self._driving.by, "why": "the run is ending"}
                reply = ask(self.keeper, question, self._screen.event)
            except NotKept as error:
                raise RunStopped(Event.ERROR, f"faults by hand: {error}") from error
            for problem in reply.get("failed", ()):
                self._timeline.write(Event.FAULT_UNDO_FAILED, why=problem)
        if self._chaos is not None:
            keeper, self._chaos = self._chaos, None
            children.stop_telling(keeper, CHAOS_UNDO_S, self._tick)
        self.keeper = None
        self._undo_leftovers()
        self._tick()
        if self._course is None or not self._course.faults:
            return
        why = why_not_whole(self._plan.target, WHOLE_S, self._tick)
        self._timeline.write(Event.TARGET_WHOLE, whole=why is None, why=why)
        if self._phase is not None and self._phase.startswith("recovery["):
            begun = next((p.begin_ns for p in phases_of(self._read()) if p.name == self._phase), 0)
            self._wait(self._recovery_s - (time.monotonic_ns() - begun) / 1e9)

    def _tick(self, pause_s: float = 0.25) -> None:
        super()._tick(pause_s)
        if self._rows is not None and self._course is not None:
            for row in self._rows.poll():
                if (began := self._course.note(row)) is not None:
                    self._screen.phase(began, self._left_s())
            self._phase = self._course.phase

    def _check_children(self) -> None:
        if self._target is not None and self._target.why_dead() is not None:
            self._gone = True  # and said, below
        super()._check_children()
        if self._deserted is not None and self._course is not None:
            why = self._deserted.why(self._watcher.good, time.monotonic())
            if why is not None:
                self._gone = True
                raise RunStopped(Event.ERROR, why)
        if self.keeper is not None and self._chaos is not None and self._chaos.poll() is not None:
            words = children.last_line(self.folder / "logs" / "keeper.log")
            self.keeper = None
            raise RunStopped(Event.ERROR, f"the process that keeps faults ended; {words}")

    def _write_end(self) -> None:
        super()._write_end()
        self._plan = self._as_it_went()
        conclude.write_plan(self.folder, self._plan)

    def _as_it_went(self) -> Plan:
        """The plan with the phases and faults that there were: people made them up as they went, so
        none was shorter than planned. A fault without a phase of its own stays, and is missed.
        """
        lasted = {
            p.name: (p.end_ns - p.begin_ns) / 1e9 for p in phases_of(self._read()) if p.end_ns
        }
        seen = self._course.faults if self._course is not None else []
        # What was planned and never came stays in the plan, last.
        faults = [*seen, *(one.name for one in self._plan.faults if one.name not in seen)]

        def length(name: str, planned: float) -> float:
            return min(planned, math.floor(lasted.get(name, planned) * 10) / 10)

        return replace(
            self._plan,
            steady_s=length("steady", self._plan.steady_s),
            faults=tuple(
                Fault(
                    name=name,
                    experiment=BY_HAND,
                    recovery_s=length(f"recovery[{name}]", self._recovery_s),
                )
                for name in faults
            ),
        ).sealed()

    def _read(self) -> list[dict[str, object]]:
        return read_ndjson(self.folder / TIMELINE)[0]
