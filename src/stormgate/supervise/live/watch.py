"""A run with the live page beside its console: the page follows, and its buttons act as a person at
the terminal would.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stormgate.model import Judgement, Plan
from stormgate.report.words import amount, one_line
from stormgate.supervise.live.server import Act, LiveServer
from stormgate.supervise.live.view import MOST_EVENTS, LiveView
from stormgate.supervise.supervisor import Supervisor
from stormgate.supervise.terms import Options, Screen
from stormgate.system.secrets import redacted_data

Make = Callable[[Plan, Options, Screen], Supervisor]

# As `stormgate judge`, behind everything else on this machine: the load has its cores first.
_JUDGE = (
    "import os, sys; os.nice(19); from stormgate.cli import main; "
    "main(['judge', sys.argv[1], '--json', '--no-write'])"
)


class LiveRuns:
    """What the page shows and does, over every attempt of a gate, or a run by hand. Also the
    supervisor's screen: whatever it is told it passes on to the console's. `acts` are buttons
    beside withdraw and stop, `day` what a game day has to say. Raises OSError when the port is
    taken.
    """

    def __init__(
        self,
        port: int,
        acts: Mapping[str, Act] | None = None,
        day: Callable[[], dict[str, Any] | None] = lambda: None,
    ) -> None:
        self._lock = threading.Lock()
        self._view: LiveView | None = None
        self._supervisor: Supervisor | None = None
        self._screen: Screen | None = None
        self._plan: Plan | None = None
        self._run = 0
        self._phase: tuple[str, float | None, float] = ("", None, 0.0)
        self._events: deque[tuple[float, str]] = deque(maxlen=MOST_EVENTS)
        self._leaning: list[dict[str, Any]] = []
        self._judged = 0
        self._judge: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()
        self._verdict: str | None = None
        self._report: str | None = None
        self._day = day
        self.server = LiveServer(
            port, self._state, {"withdraw": self._withdraw, "stop": self._stop, **(acts or {})}
        )

    def run(
        self, plan: Plan, options: Options, screen: Screen, make: Make = Supervisor
    ) -> tuple[Judgement, Path]:
        """One attempt, followed by the page; `make` makes its supervisor."""
        with self._lock:
            self._plan, self._screen, self._view = plan, screen, None
            self._run, self._verdict, self._leaning, self._judged = self._run + 1, None, [], 0
            self._events.clear()
            self._began = time.monotonic()
            self._supervisor = make(plan, options, self)
        return self._supervisor.run()

    def close(self) -> None:
        """The last report to whoever looks; the page's server is gone afterwards."""
        self.server.finish(self._report)
        if self._judge is not None:
            self._judge.kill()
            self._judge.wait()
        if self._view is not None:
            self._view.close()

    # What the supervisor tells, from its own thread.

    def phase(self, name: str, seconds: float | None) -> None:
        self._phase = (name, seconds, time.monotonic())
        self._passed_on().phase(name, seconds)

    def tick(self, stats: Mapping[str, Any]) -> None:
        self._passed_on().tick(stats)

    def event(self, text: str) -> None:
        self._events.append((round(time.monotonic() - self._began, 1), one_line(text)))
        self._passed_on().event(text)

    def done(self, judgement: Judgement, folder: Path) -> None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            self._report = (folder / "report.html").read_text(encoding="utf-8")
        self._verdict = judgement.verdict.value
        self._passed_on().done(judgement, folder)

    def _passed_on(self) -> Screen:
        assert self._screen is not None  # noqa: S101 - a run has its screen
        return self._screen

    # What the page asks, from the server's thread.

    def _state(self, since_s: int) -> dict[str, Any] | None:
        with self._lock:
            folder: Path | None = getattr(self._supervisor, "folder", None)
            if self._plan is None or folder is None:
                return None
            if self._view is None:
                self._view, since_s = LiveView(folder, self._plan), 0
            view, plan = self._view, self._plan
        view.poll()
        self._lean(view, folder)
        name, planned_s, since = self._phase
        lasted = time.monotonic() - since
        left = None if planned_s is None else max(0.0, round(planned_s - lasted, 1))
        state = {
            **view.snapshot(time.monotonic_ns(), since_s),
            "run": self._run,
            "gate": one_line(plan.gate),
            "target": f"{one_line(plan.target.name)} ({plan.target.environment})",
            "folder": one_line(folder.name),
            "phase": {"name": one_line(name), "lasted_s": round(lasted, 1), "left_s": left},
            "planned_per_s": plan.load.rate_per_s,
            "events": list(self._events),
            "objectives": self._leaning,
            "verdict": self._verdict,
            "day": self._day(),
        }
        # As for every report: what the environment keeps secret is on no page.
        return dict(redacted_data(state))

    def _lean(self, view: LiveView, folder: Path) -> None:
        """Where the objectives lean: judged anew when a phase is over, by a process that comes last
        at the machine's cores.
        """
        if self._judge is not None and self._judge.poll() is not None:
            with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
                out = self._judge.stdout.read() if self._judge.stdout is not None else b""
                self._leaning = [_leaning(one) for one in json.loads(out)["objectives"]]
            self._judge = None
        if self._judge is None and len(view.ended) > self._judged and self._verdict is None:
            self._judged = len(view.ended)
            self._judge = subprocess.Popen(
                [sys.executable, "-c", _JUDGE, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )

    def _withdraw(self) -> str:
        supervisor = self._supervisor
        if supervisor is None or not supervisor.withdraw("the live page"):
            return "no fault stands"
        return "the faults are being taken back; the run goes on"

    def _stop(self) -> str:
        # As ctrl-C: the supervisor withdraws the faults, stops the load, and says ABORTED.
        os.kill(os.getpid(), signal.SIGINT)
        return "the run is being stopped; faults are undone first"


def _leaning(one: Mapping[str, Any]) -> dict[str, Any]:
    """An objective of a verdict.json, in words for the page."""
    unit = str(one.get("unit", ""))
    return {
        "name": one_line(str(one["name"])),
        "verdict": str(one["verdict"]),
        **{key: amount(one.get(key), unit) for key in ("value", "bound", "limit")},
        "why": one_line(str(one.get("why", "")))[:300],
    }


@contextlib.contextmanager
def live_page(runs: LiveRuns, say: Callable[[str], object]) -> Iterator[None]:
    """The page for as long as the block lasts; `say` gets its address."""
    runs.server.start()
    say(f"live: {runs.server.address}")
    try:
        yield
    finally:
        runs.close()
