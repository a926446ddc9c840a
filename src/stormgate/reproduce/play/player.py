"""The player: every lane in a thread of its own, one more that keeps everything standing, and in
the end everything taken back and seen to be.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from stormgate.evidence.write import Journal
from stormgate.faults.context import Context
from stormgate.faults.errors import ChaosError, Halted
from stormgate.faults.inject import in_parallel
from stormgate.faults.ledger import open_entries
from stormgate.faults.undo import undo_entries
from stormgate.reproduce.play.lanes import PREPARE_S, Lane, MoveTold, play_lane
from stormgate.reproduce.play.resolve import LanePlan, LaneSpan, worst_moment
from stormgate.reproduce.schedule import Schedule
from stormgate.system.files import write_atomically

PLAYED = "played.ndjson"
SUMMARY = "played.json"
SCHEMA = "stormgate.played/1"
LATE_MS = 50.0
"""A change that is done later than this was not on time."""
_KEEP_S = 0.25
_PROVERS = 8
_START_S = 0.05

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of playing: every change with how late it was, what was not seen to act, what had
    to be made again meanwhile, and what could not be taken back.
    """

    rounds: int
    moves: tuple[MoveTold, ...]
    seen: int
    unseen: tuple[str, ...]
    kept: tuple[str, ...]
    not_undone: str = ""
    stopped: bool = False

    @property
    def late_ms(self) -> float:
        """The latest that any change was, ms."""
        return max((move.late_ms for move in self.moves), default=0.0)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it was not played as it is written; empty when it was."""
        failed = [
            f"{move.mode} {move.where} at {move.at_s:g} s: {move.problem}"
            for move in self.moves
            if move.problem
        ]
        late = [move for move in self.moves if move.late_ms > LATE_MS and not move.problem]
        if late:
            worst = max(late, key=lambda move: move.late_ms)
            failed.append(
                f"{len(late)} of {len(self.moves)} changes were over {LATE_MS:g} ms late, "
                f"{worst.mode} {worst.where} at {worst.at_s:g} s by {worst.late_ms:g} ms"
            )
        if not self.moves and not self.stopped:
            failed.append("nothing was changed")
        return (*failed, *self.unseen)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        lates = sorted(move.late_ms for move in self.moves)
        return {
            "schema": SCHEMA,
            "rounds": self.rounds,
            "moves": len(self.moves),
            "late_ms": {
                "median": lates[len(lates) // 2] if lates else None,
                "worst": self.late_ms if lates else None,
                "allowed": LATE_MS,
            },
            "seen": self.seen,
            "problems": list(self.problems),
            "kept": list(self.kept),
            "not_undone": self.not_undone,
            "stopped": self.stopped,
        }


class Player:
    """Plays a schedule on a target, once. `context.stopping` ends it early."""

    def __init__(
        self, context: Context, schedule: Schedule, lanes: Sequence[LanePlan], say: Say
    ) -> None:
        """`lanes`: of `resolve`; `say` is told what a person wants to know meanwhile."""
        self.context, self.schedule, self._say = context, schedule, say
        self.lanes = [Lane(plan, context) for plan in lanes]
        self.moves: list[MoveTold] = []
        self.kept: list[str] = []
        self.rounds = 0
        self.taking_back = False
        self._journal = Journal(context.folder / PLAYED)
        self._lock = threading.Lock()
        self._stop_keeping = threading.Event()

    def prepare(self) -> None:
        """Look at everything that will be broken, and write all links into the ledger; changes
        nothing. Raises ChaosError, OSError.
        """
        drafts = in_parallel(lambda lane: lane.draft(lane.plan.spans[0].params), self.lanes)
        found = [(o, e) for o, e in zip(self.lanes, drafts, strict=True) if o.plan.is_link]
        self.context.ledger.intend([entry for _, entry in found])
        for lane, entry in found:
            lane.take(entry)

    def play(self, *, loop: bool = False, hold: Callable[[float], object] | None = None) -> Played:
        """Play it, again and again with `loop`; with `hold` until the worst moment, where `hold` is
        called with its second while everything stands. Whatever happens, all is taken back.
        """
        worst_s = worst_moment([lane.plan for lane in self.lanes])
        pool = ThreadPoolExecutor(_PROVERS, "proof")
        try:
            with self._keeping():
                while not self.context.stopping.is_set():
                    self.rounds += 1
                    self._round(pool, worst_s if hold else None)
                    if hold is not None and not self.context.stopping.is_set():
                        hold(worst_s)
                    if hold is not None or not loop:
                        break
        except KeyboardInterrupt:
            self.context.stopping.set()
        finally:
            self.taking_back = True
            stopped = self.context.stopping.is_set()
            self.context.stopping.set()
            pool.shutdown(wait=True, cancel_futures=True)
            not_undone = self._take_back()
            played = self._played(not_undone, stopped)
            text = json.dumps(played.to_json(), indent=2, ensure_ascii=False) + "\n"
            write_atomically(self.context.folder / SUMMARY, text)
            self._journal.close()
        return played

    def _round(self, pool: ThreadPoolExecutor, until_s: float | None) -> None:
        last_s = self.schedule.length_s if until_s is None else until_s
        # What runs is looked at before it is broken: time for that also where it begins at once.
        runs = any(not lane.plan.is_link for lane in self.lanes)
        begun = time.monotonic() + (PREPARE_S if runs else _START_S)
        stop = self.context.stopping

        def prove(lane: Lane, at: int, span: LaneSpan) -> None:
            pool.submit(lane.prove, at, span, stop)

        threads = [
            threading.Thread(
                target=play_lane,
                args=(lane, begun, last_s, stop, self._moved, prove),
                name=lane.plan.name,
            )
            for lane in self.lanes
        ]
        for thread in threads:
            thread.start()
        try:
            # Waited for here, so that ctrl-C is heard by this thread at once.
            stop.wait(max(0.0, begun + last_s - time.monotonic()))
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)
        except BaseException:
            stop.set()
            for thread in threads:
                thread.join()
            raise

    def _moved(self, move: MoveTold) -> None:
        with self._lock:
            self.moves.append(move)
            self._journal.append({"round": self.rounds, **asdict(move)})
        if move.problem:
            self._say(f"{move.mode} {move.where} at {move.at_s:g} s: {move.problem}")

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        thread = threading.Thread(target=self._keep, name="keep")
        thread.start()
        try:
            yield
        finally:
            self._stop_keeping.set()
            thread.join()

    def _keep(self) -> None:
        gone: str | None = None
        while not self._stop_keeping.wait(_KEEP_S):
            for lane in self.lanes:
                try:
                    done = lane.keep()
                except Halted as error:
                    self._noted(str(error))
                    self.context.stopping.set()
                    return
                except ChaosError as error:
                    if gone is None:
                        gone = str(error)
                        self._noted(f"lost: {gone}")
                    break
                if done:
                    self._noted(done)
            else:
                gone = None

    def _noted(self, what: str) -> None:
        with self._lock:
            self.kept.append(what)
            self._journal.append({"kept": what, "at_ns": time.monotonic_ns()})
        self._say(what)

    def _take_back(self) -> str:
        """Everything taken back and seen to be; what could not be, else ""."""
        for lane in self.lanes:
            lane.standing = None
            try:
                lane.keep()  # where the proxy itself is lost, nothing could be seen to be whole
            except ChaosError:
                continue
        try:
            undo_entries(self.context, open_entries(self.context.folder), say=self._say)
        except (ChaosError, ValueError) as error:
            return str(error)
        return ""

    def _played(self, not_undone: str, stopped: bool) -> Played:
        unseen = [
            why
            for lane in self.lanes
            for at, why in sorted(lane.unseen.items())
            if at not in lane.seen and not (stopped and "too short" in why)
        ]
        return Played(
            rounds=self.rounds,
            moves=tuple(self.moves),
            seen=sum(len(lane.seen) for lane in self.lanes),
            unseen=tuple(dict.fromkeys(unseen)),
            kept=tuple(self.kept),
            not_undone=not_undone,
            stopped=stopped,
        )
