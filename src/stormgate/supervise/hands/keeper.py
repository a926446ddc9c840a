"""`python -m stormgate.supervise.hands.keeper FOLDER --by WHO [--within PID:TICKS]`: the process
that keeps faults made by hand, whatever becomes of the console that asked for them.

Two processes, so that no single kill -9 leaves a fault standing: one keeps (it holds the target's
lease, breaks, proves, and takes back what has stood its time), the other waits for its end and
replays the ledger if it left anything. On its own it ends, and judges and seals its folder, when
nothing stands any more. `--within` a run it writes into that run's folder, under that run's lease,
and ends with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from stormgate.chaos.held import hold
from stormgate.evidence.live import NdjsonTail
from stormgate.evidence.write import TIMELINE
from stormgate.faults import lease
from stormgate.faults.context import Context, make_context
from stormgate.faults.errors import ChaosError
from stormgate.faults.hands import asking
from stormgate.faults.ledger import open_entries
from stormgate.faults.restore import open_ledgers, restore
from stormgate.faults.state import require_writable
from stormgate.model import Event, Fault, Plan, from_json
from stormgate.net.references import know_secrets
from stormgate.supervise.hands.course import Course
from stormgate.supervise.hands.kept import BY_HAND, KeptFaults, Order
from stormgate.system.processes import alive
from stormgate.system.secrets import know_environment

TICK_S = 0.1
# How long it waits for a first order, and after the last fault for another.
FIRST_S, LINGER_S = 30.0, 1.0
GUARD_S = 60.0
ANSWER_S = 5.0
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class _Owner:
    """The run that this keeper belongs to."""

    pid: int
    start_ticks: int

    @property
    def lives(self) -> bool:
        return alive(self.pid, self.start_ticks)


def main(argv: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m stormgate.supervise.hands.keeper")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--by", required=True)
    parser.add_argument("--within", metavar="PID:TICKS")
    given = parser.parse_args(argv)
    know_environment(os.environ)
    owner = None
    if given.within is not None:
        pid, _, ticks = given.within.partition(":")
        owner = _Owner(int(pid), int(ticks))
    # Before any thread: what a thread holds is held for ever in a fork.
    child = os.fork()
    if child:
        return _guard(child, given.folder)
    try:
        code = _keep(given.folder, given.by, owner)
    except (ChaosError, OSError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        code = 2
    sys.stderr.flush()
    os._exit(code)


def _guard(child: int, folder: Path) -> int:
    """Wait for the other to end, and replay what it left."""

    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    for each in _STOPS:
        signal.signal(each, forward)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(OSError, ValueError):
        if open_entries(folder):
            report = restore(folder, GUARD_S)
            told = "; ".join(report.problems) or "everything it left was taken back"
            print(f"the keeper ended with {code}: {told}", file=sys.stderr)
    return code if code >= 0 else 128 - code


def _keep(folder: Path, by: str, owner: _Owner | None) -> int:
    plan = from_json(Plan, json.loads((folder / "plan.json").read_bytes()))
    know_secrets(plan.target, os.environ)
    # Inside a run its plan says who has to be served before anything is broken; alone nobody asks.
    context = make_context(
        plan.target,
        folder,
        fault=BY_HAND,
        seed=plan.seed,
        plan=None if owner is None else plan,
    )
    held = None if owner is not None else _take_lease(plan.target.name, folder)
    hold(context)
    keeper = _Keeper(context, plan, owner)
    for each in _STOPS:
        signal.signal(each, keeper.stop)
    try:
        with keeper.listening():
            keeper.run()
    finally:
        if held is not None:
            lease.release(held)
    return 0


def _take_lease(target: str, folder: Path) -> lease.Lease:
    """As for a gate: nothing may be broken already, and nobody else's run may be on it."""
    require_writable()
    if ledgers := open_ledgers(target):
        broken = [one.lost or f"{', '.join(one.open)} of {one.folder}" for one in ledgers]
        raise ChaosError(
            f"target {target!r} still carries faults: {'; '.join(broken)}; fix: stormgate undo all"
        )
    return lease.acquire(target, folder=folder)


class _Keeper:
    """The questions, the clock, and the end."""

    def __init__(self, context: Context, plan: Plan, owner: _Owner | None) -> None:
        self._context = context
        self._plan = plan
        self._owner = owner
        self._kept = KeptFaults(context)
        self._course = Course(context.timeline) if owner is None else None
        if owner is not None:
            self._kept.wait("the run is still warming up: try again in a moment")
        self._tail = NdjsonTail(context.folder / TIMELINE)
        self._stopping = threading.Event()
        self._asked = 0
        self._busy = 0
        self._lock = threading.Lock()
        self._quiet_since = time.monotonic()

    def stop(self, number: int, frame: FrameType | None) -> None:
        """A signal: take everything back, and end."""
        self._stopping.set()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Answer questions for the block; nobody but this user can ask them."""
        name = self._context.target.name
        with tempfile.TemporaryDirectory(prefix="stormgate-hand-") as home:
            address = Path(home) / "ask"
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
                door.bind(str(address))
                door.listen(16)
                threading.Thread(target=self._accept, args=(door,), daemon=True).start()
                asking.register(name, self._context.folder, address)
                try:
                    yield
                finally:
                    asking.unregister(name)

    def run(self) -> None:
        """Keep until the end; then take back what is left."""
        if self._owner is None:
            self._context.timeline.write(Event.RUN_BEGIN, gate=self._plan.gate)
        while not self._over():
            self._stopping.wait(TICK_S)
            self._kept.undo_due()
            self._note()
        self._kept.close("its keeper is ending")
        why = "the keeper was stopped" if self._stopping.is_set() else "the run is over"
        self._kept.undo(None, why, _log)
        self._note()
        # Whoever asked hears what came of it, before this process is gone.
        end = time.monotonic() + ANSWER_S
        while self._busy and time.monotonic() < end:
            time.sleep(TICK_S)
        if self._course is not None:
            self._conclude(self._course)

    def _over(self) -> bool:
        if self._stopping.is_set():
            return True
        if self._owner is not None:
            return not self._owner.lives
        with self._lock:
            if self._busy or not self._kept.idle:
                self._quiet_since = time.monotonic()
                return False
            quiet_s = time.monotonic() - self._quiet_since
            # Under the lock: a question that comes now is either counted, or refused.
            over = quiet_s >= (LINGER_S if self._asked else FIRST_S)
            if over:
                self._kept.close("its keeper is ending")
            return over

    def _note(self) -> None:
        if self._course is not None:
            for row in self._tail.poll():
                self._course.note(row)

    def _conclude(self, course: Course) -> None:
        """The folder of faults that nobody's load met: whole, judged for what it is, and sealed."""
        from stormgate.supervise.conclude import conclude, write_plan

        course.end()
        self._context.timeline.write(Event.RUN_END)
        faults = tuple(
            Fault(name=name, experiment=BY_HAND, recovery_s=0.0) for name in course.faults
        )
        plan = replace(self._plan, faults=faults).sealed()
        write_plan(self._context.folder, plan)
        conclude(self._context.folder, plan)

    def _accept(self, door: socket.socket) -> None:
        while True:
            try:
                line, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with self._lock:
            self._busy += 1
            self._asked += 1
        try:
            with line, line.makefile("rwb") as stream:
                if _user_of(line) != os.getuid():
                    return

                def send(row: Mapping[str, Any]) -> None:
                    # Whoever asked may be gone; what was asked goes on.
                    with contextlib.suppress(OSError, ValueError):
                        stream.write(json.dumps(row, default=str).encode() + b"\n")
                        stream.flush()

                text = stream.readline(asking.MOST_BYTES)
                send({"reply": self._answer(text, send)})
        except OSError:
            pass
        finally:
            with self._lock:
                self._busy -= 1

    def _answer(self, text: bytes, send: Any) -> dict[str, Any]:
        def say(words: str) -> None:
            _log(words)
            send({"say": words})

        try:
            question = json.loads(text)
            by = str(question.get("by") or "somebody")
            match question.get("op"):
                case "inject":
                    return self._kept.inject(Order.of(question))
                case "undo":
                    ids = question.get("ids")
                    if ids is None:
                        return self._kept.undo(None, by, say)
                    return self._kept.undo_ids([str(one) for one in ids], by, say)
                case "open":
                    self._kept.wait(None)
                    return {}
                case "close":
                    self._kept.close(str(question.get("why") or "it is over"))
                    return self._kept.undo(None, by, say)
                case other:
                    return {"error": "ValueError", "why": f"no such question: {other!r}"}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return {"error": type(error).__name__, "why": f"not a question: {error}"}


def _user_of(line: socket.socket) -> int:
    """Who is at the other end, by the kernel's word."""
    size = struct.calcsize("3i")
    found = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", found)[1])


def _log(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
