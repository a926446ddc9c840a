"""`python -m stormgate.chaos.sampler`: read the plan's probes, each on its schedule, into
readings.ndjson until told to end.

A process of its own, as Chaos Toolkit has: probes are other people's code, and nothing of it leaves
the target's `allow` list. A probe that raises, finds nothing, or is not done in time is a failed
reading, never a gap.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from stormgate.chaos.held import hold
from stormgate.evidence.write import READINGS, Journal
from stormgate.faults.context import current
from stormgate.faults.errors import ChaosError
from stormgate.model import Sampling, Verdict
from stormgate.net.references import know_secrets
from stormgate.system.processes import die_with_parent
from stormgate.system.secrets import know_environment
from stormgate.system.streams import lasting

_MOST_WORDS = 300
Write = Callable[[dict[str, Any]], None]


def number_of(value: Any) -> float:
    """A probe's answer as a number: true is 1, false 0. Raises ValueError for anything that is
    none, with the reason.
    """
    if value is None:
        raise ValueError("the probe found nothing to measure")
    if not isinstance(value, int | float):
        raise ValueError(f"{type(value).__name__} is no number: {str(value)[:80]}")
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{found} is no finite number")
    return found


class Sampler:
    """One probe on its schedule. `read` is called in a thread of its own, so that one that hangs
    delays nothing: until it comes back each turn is a failed reading.
    """

    def __init__(self, sampling: Sampling, read: Callable[[], Any], write: Write) -> None:
        self.sampling = sampling
        self._read = read
        self._write = write
        self._asking: threading.Thread | None = None

    def turn(self) -> None:
        """Read once and write down what came of it."""
        began_ns = time.monotonic_ns()
        if self._asking is not None and self._asking.is_alive():
            self._note(began_ns, None, "the reading before it has not come back")
            return
        answer: list[tuple[Any, str | None]] = []

        def ask() -> None:
            try:
                answer.append((number_of(self._read()), None))
            except Exception as error:
                said = str(error).strip() or "it raised"
                answer.append((None, f"{type(error).__name__}: {said}"[:_MOST_WORDS]))

        self._asking = threading.Thread(target=ask, name=self.sampling.name, daemon=True)
        self._asking.start()
        self._asking.join(self.sampling.within_s)
        late = (None, f"no answer within {self.sampling.within_s:g} s")
        value, error = answer[0] if answer else late
        self._note(began_ns, value, error)

    def run(self, stopping: threading.Event) -> None:
        """A turn each `every_s`, without piling up, until told to end."""
        due = time.monotonic()
        while not stopping.is_set():
            self.turn()
            due = max(due + self.sampling.every_s, time.monotonic())
            stopping.wait(due - time.monotonic())

    def _note(self, began_ns: int, value: float | None, error: str | None) -> None:
        self._write(
            {
                "at_ns": began_ns,
                "probe": self.sampling.name,
                "value": value,
                "error": error,
                "duration_ms": round((time.monotonic_ns() - began_ns) / 1e6, 3),
            }
        )


def reader_of(sampling: Sampling) -> Callable[[], Any]:
    """The probe with its arguments, looked up at each turn: what cannot be imported is a failed
    reading as well.
    """

    def read() -> Any:
        func = getattr(import_module(sampling.module), sampling.func)
        return func(**dict(sampling.arguments))

    return read


def main() -> int:
    """See the module."""
    die_with_parent(death_signal=signal.SIGTERM)
    know_environment(os.environ)
    sys.stdout, sys.stderr = lasting(sys.stdout), lasting(sys.stderr)
    os.environ["STORMGATE_FAULT"] = "readings"
    try:
        context = current()
    except (ChaosError, OSError) as error:
        print(f"stormgate.chaos.sampler: {error}", file=sys.stderr)
        return Verdict.ERROR.exit_code
    if context.plan is None:
        print("stormgate.chaos.sampler: no plan says what to read", file=sys.stderr)
        return Verdict.ERROR.exit_code
    know_secrets(context.target, os.environ, plan=context.plan)
    hold(context)
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopping.set())
    with Journal(context.folder / READINGS) as journal:
        samplers = [Sampler(one, reader_of(one), journal.append) for one in context.plan.readings]
        threads = [
            threading.Thread(target=one.run, args=(stopping,), daemon=True) for one in samplers
        ]
        for thread in threads:
            thread.start()
        stopping.wait()
        # What is being read right now has its time; what hangs ends with this process.
        end = time.monotonic() + max(one.within_s for one in context.plan.readings)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
