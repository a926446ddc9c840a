"""The only orchestrator: a Plan becomes processes, the processes leave evidence, and the evidence
is judged.

No locust and no chaoslib in here: they run as children, because one patches the interpreter and the
other wants the main thread. Their exit codes are never evidence. Whatever happens, `Supervisor.run`
withdraws every fault, ends every child and leaves a verdict.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from stormgate.evidence.folder import create_run_folder
from stormgate.evidence.live import LiveSamples, NdjsonTail
from stormgate.evidence.write import TIMELINE, Timeline
from stormgate.judge.baseline import with_baselines
from stormgate.model import Event, Fault, Judgement, Plan, groups
from stormgate.net.status import why_not_whole
from stormgate.supervise import children, conclude, early
from stormgate.supervise.proving.record import with_proofs
from stormgate.supervise.reading import ReadingBack
from stormgate.supervise.sampling import SamplingProbes
from stormgate.supervise.terms import Options, RunStopped, Screen, stopped_by_signals
from stormgate.supervise.trials import Around, Trials
from stormgate.supervise.watch import Watcher, as_mapping, guard_tripped
from stormgate.system.processes import spawn, stop

TICK_S = 0.25
LOAD_READY_S = 60.0
LOAD_FLUSH_S = 15.0
# Undoing takes 2-5 s. A machine so busy that it takes longer gets more time, first in the chaos
# process, then by replaying the ledger from here: giving up earlier would leave a fault in place
# that only needed patience.
CHAOS_UNDO_S = 10.0
REPLAY_S = 20.0
# Answers to the last requests of a phase come within this, or are long bad.
SETTLE_S = 3.0
WHOLE_AT_END_S = 5.0


class Supervisor:
    """One run of one plan. Use from the main thread: it owns SIGINT and SIGTERM while it runs."""

    def __init__(self, plan: Plan, options: Options, screen: Screen) -> None:
        self._plan = plan
        self._options = options
        self._screen = screen
        self._watcher = Watcher()
        self._load: subprocess.Popen[bytes] | None = None
        self._chaos: subprocess.Popen[bytes] | None = None
        self._target: children.RunningTarget | None = None
        self._phase: str | None = None
        self._trials: Trials | None = None
        self._began_ns: dict[tuple[str, str], int] = {}
        self._ended: list[str] = []
        self._load_argv = children.load_argv
        self._load_ready = False
        self._reading: ReadingBack | None = None
        self._sampling: SamplingProbes | None = None
        self._stopping = False
        self._asked: str | None = None

    def run(self) -> tuple[Judgement, Path]:
        """Everything from the empty folder to the verdict. Raises OSError only when not even the
        run folder can be made.
        """
        plan = replace(
            self._plan,
            started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=children.versions(self._plan.load.engine),
        )
        # Before the seal: what earlier runs measured is part of what this one is held against, and
        # what they were proved able to tell is part of what it says.
        plan = with_proofs(plan, self._options.root)
        self._plan = with_baselines(plan, self._options.reports).sealed()
        self.folder = create_run_folder(
            self._options.reports,
            plan.gate,
            now=datetime.now(UTC),
            first_files=conclude.first_files(self._plan),
        )
        self._timeline = Timeline(self.folder)
        self._tail = NdjsonTail(self.folder / TIMELINE)
        self._samples = LiveSamples(self.folder)
        self._timeline.write(Event.RUN_BEGIN, gate=plan.gate, lab_defect=self._options.lab_defect)
        with stopped_by_signals(self._heard):
            try:
                self._trial()
                self._obey()
                # here already: a signal between the trial and the teardown must not skip the
                # teardown
                self._stopping = True
            except RunStopped as stopped:
                self._note_end(stopped)
            except Exception as error:
                self._note_end(RunStopped(Event.ERROR, f"{type(error).__name__}: {error}"))
            finally:
                self._stopping = True
                self._asked = None
                self._tear_down()
        judgement = conclude.conclude(self.folder, self._plan)
        self._screen.done(judgement, self.folder)
        return judgement, self.folder

    def withdraw(self, by: str) -> bool:
        """Take back what is being tried, before its time; the run goes on without it. False:
        nothing is. From any thread.
        """
        trials = self._trials
        if trials is None or self._stopping or not trials.processes():
            return False
        self._timeline.write(Event.CHAOS_WITHDRAWN, by=by)
        return trials.withdraw()

    # The trial, phase by phase.

    def _trial(self) -> None:
        self._set_out()
        self._hold("steady", self._plan.steady_s)
        for group in groups(self._plan.faults):
            self._try(group)
        self._come_home()

    def _set_out(self) -> None:
        """Everything up to the end of the warmup."""
        self._bring_up_target()
        self._start_load()
        plan = self._plan
        self._reading = ReadingBack(plan, self.folder, self._options.root)
        self._reading.start()
        self._sampling = SamplingProbes(plan, self.folder, self._options)
        self._sampling.start()
        self._hold("warmup", plan.warmup_s)
        if not self._watcher.good:
            raise RunStopped(
                Event.ABORT,
                f"the target answered none of {self._watcher.samples} requests during warmup"
                f"{self._watcher.failure}; nothing was broken",
            )

    def _come_home(self) -> None:
        """The calm end, and what is read back when the load has ended."""
        self._hold("final", self._plan.final_s)
        if self._sampling is not None:
            self._sampling.stop()
        self._stop_load()
        if self._reading is not None:
            self._reading.finish(self._timeline, self._tick)

    def _bring_up_target(self) -> None:
        self._screen.phase("target", None)
        try:
            self._target = self._options.standing or children.bring_up(
                self._plan.target,
                self.folder,
                root=self._options.root,
                defect=self._options.lab_defect,
                say=self._screen.event,
            )
        except children.TargetError as error:
            raise RunStopped(Event.ERROR, str(error)) from error
        self._plan = replace(self._plan, target=self._target.target).sealed()
        conclude.write_plan(self.folder, self._plan)
        self._timeline.write(Event.TARGET_UP, target=self._plan.target.name)

    def _start_load(self) -> None:
        self._load = spawn(
            self._load_argv(self._plan, self.folder, self._options.root),
            env=children.environment(self.folder, self._options.root),
            cwd=self._options.root,
            log_path=self.folder / "logs" / "load.log",
            new_session=True,
            death_signal=signal.SIGTERM,
        )
        children.prefer(self._load.pid)
        self._screen.phase("load", None)
        deadline = time.monotonic() + LOAD_READY_S
        while not self._load_ready:
            if time.monotonic() > deadline:
                raise RunStopped(
                    Event.ERROR,
                    f"the load was not ready after {LOAD_READY_S:g} s (see logs/load.log)",
                )
            self._tick()

    def _hold(self, name: str, seconds: float) -> None:
        self._begin_phase(name, seconds)
        self._wait(seconds)
        self._end_phase()
        self._stop_if_certain()

    def _try(self, group: Sequence[Fault]) -> None:
        """A fault, and those that overlap it, from the first injection to the last recovery."""
        around = Around(
            plan=self._plan,
            root=self._options.root,
            folder=self.folder,
            timeline=self._timeline,
            screen=self._screen,
            tick=self._tick,
            undo_leftovers=self._undo_leftovers,
            ended=self._ended,
        )
        self._trials = Trials(group, around)
        self._trials.run()
        self._trials = None
        self._began_ns.clear()
        self._stop_if_certain()

    def _stop_if_certain(self) -> None:
        """With `stop: certain`, judge what is whole by now, and end a run that can only FAIL."""
        if self._watcher.refused is not None:
            raise RunStopped(None, self._watcher.refused)
        if self._plan.stop != "certain":
            return
        self._wait(SETTLE_S)
        why = early.certain_fail(self._plan, conclude.judge_folder(self.folder), self._ended)
        if why is not None:
            self._timeline.write(Event.RUN_CERTAIN, why=why)
            raise RunStopped(None, f"certain to FAIL, so the run ends here: {why}")

    # One beat of the loop.

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._tick(min(TICK_S, left))

    def _tick(self, pause_s: float = TICK_S) -> None:
        """Look at everything once. Raises RunStopped."""
        time.sleep(pause_s)
        self._obey()
        for _, batch in self._samples.poll():
            self._watcher.add(batch)
        for row in self._tail.poll():
            event = row.get("event")
            self._watcher.note(row)
            broken = str(row.get("fault")), str(row.get("id"))
            if event == Event.FAULT_REQUESTED:
                self._began_ns.setdefault(broken, int(row["at_ns"]))
            elif event == Event.FAULT_CLEARED:
                self._began_ns.pop(broken, None)
            elif event == Event.LOAD_READY:
                self._load_ready = True
            if text := conclude.event_text(row):
                self._screen.event(text)
        now_ns = time.monotonic_ns()
        self._screen.tick(as_mapping(self._watcher.stats(now_ns)))
        if not self._stopping:
            self._check_children()
            self._check_guards(now_ns)

    def _check_children(self) -> None:
        if self._load is not None and self._load.poll() is not None:
            words = children.last_line(self.folder / "logs" / "load.log")
            why = f"the load process ended early (exit {self._load.returncode}); {words}"
            self._timeline.write(Event.LOAD_LOST, worker="locust", why=why)
            self._load = None
            raise RunStopped(None, why)
        if self._target is not None and (why_dead := self._target.why_dead()):
            raise RunStopped(Event.ERROR, why_dead)

    def _check_guards(self, now_ns: int) -> None:
        why = guard_tripped(self._watcher.whole_seconds(now_ns), self._plan.guard)
        if why is None and self._began_ns:
            lasted_s = (now_ns - min(self._began_ns.values())) / 1e9
            if lasted_s > self._plan.guard.max_fault_s:
                why = (
                    f"guard: a fault has lasted {lasted_s:.0f} s (limit "
                    f"{self._plan.guard.max_fault_s:g} s)"
                )
        if why is not None:
            raise RunStopped(Event.ABORT, why)

    def _begin_phase(self, name: str, seconds: float | None) -> None:
        self._phase = name
        self._timeline.write(Event.PHASE_BEGIN, phase=name)
        self._screen.phase(name, seconds)

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._timeline.write(Event.PHASE_END, phase=self._phase)
            self._ended.append(self._phase)
            self._phase = None
        if self._trials is not None:
            self._trials.close_phases()

    # The end, whatever it was.

    def _heard(self, name: str) -> None:
        """A signal stops the trial once; while things are being undone it changes nothing."""
        if not self._stopping:
            self._stopping = True
            self._asked = name
            raise RunStopped(Event.ABORT, f"stopped by {name}")

    def _obey(self) -> None:
        """Stop, where what `_heard` raised was dropped: Python ignores it in the hooks of a fork,
        in finalizers and in callbacks. Where it is being handled there is nothing left to do.
        """
        if self._asked is not None and sys.exc_info()[1] is None:
            raise RunStopped(Event.ABORT, f"stopped by {self._asked}")

    def _note_end(self, stopped: RunStopped) -> None:
        self._stopping = True
        self._asked = None
        self._screen.event(stopped.why)
        if stopped.event is Event.ABORT:
            with contextlib.suppress(OSError):
                self._end_phase()
        # What was seen while the harness or the generator came apart is no evidence against the
        # target: the phase stays open, and what is not whole is not judged.
        self._phase = None
        if self._trials is not None:
            self._trials.forget_phases()
        if stopped.event is not None:
            with contextlib.suppress(OSError):
                self._timeline.write(stopped.event, why=stopped.why, by="supervisor")

    def _tear_down(self) -> None:
        """Faults first, then load, then the target; each step is tried even when the one before
        failed.
        """
        steps = (
            self._withdraw_faults,
            self._stop_load,
            self._stop_reading,
            self._stop_target,
            self._write_end,
        )
        for step in steps:
            try:
                step()
            except Exception as error:
                why = f"while ending the run: {type(error).__name__}: {error}"
                self._note_end(RunStopped(Event.ERROR, why))

    def _withdraw_faults(self) -> None:
        running = self._trials.processes() if self._trials is not None else []
        running += [self._chaos] if self._chaos is not None else []
        for process in running:
            process.send_signal(signal.SIGTERM)  # all of them at once, then each is waited for
        for process in running:
            children.stop_telling(process, CHAOS_UNDO_S, self._tick)
        self._chaos = self._trials = None
        self._undo_leftovers()
        if self._plan.target.provision is not None or not children.has_ledger(self.folder):
            return
        # Everything may be undone and the target broken all the same (a link server that died):
        # that is for a person to see.
        if (why := why_not_whole(self._plan.target, WHOLE_AT_END_S, self._tick)) is not None:
            self._timeline.write(Event.FAULT_UNDO_FAILED, why=f"the target is not whole: {why}")

    def _undo_leftovers(self, fault: str | None = None) -> None:
        """Replay what the chaos process did not undo itself, of one fault or of all. A fault that
        stays is DIRTY, and the timeline says so.
        """
        for problem in children.undo_leftovers(self.folder, REPLAY_S, fault):
            self._timeline.write(Event.FAULT_UNDO_FAILED, why=problem)
            self._screen.event(problem)

    def _stop_load(self) -> None:
        if self._load is not None:
            self._screen.event("load: the last samples are being written")
            stop(self._load, LOAD_FLUSH_S, group=True, leads=True)
            self._load = None

    def _stop_reading(self) -> None:
        if self._sampling is not None:
            self._sampling.stop()
        if self._reading is not None:
            self._reading.stop()

    def _write_end(self) -> None:
        self._end_phase()
        self._samples.close()
        self._timeline.write(Event.RUN_END)

    def _stop_target(self) -> None:
        if self._target is not None:
            ours = self._plan.target.provision is not None
            self._target.stop()
            self._target = None
            if ours:
                # What could not be undone in a lab of our own has just gone with it; the ledger and
                # the timeline should say so.
                self._undo_leftovers()
