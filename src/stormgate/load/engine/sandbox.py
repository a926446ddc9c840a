"""What users' code raises, and what escapes everything: counted, and told once a place."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from pathlib import Path

from stormgate.load.engine.watchdog import FlowHungError
from stormgate.load.record.counters import Counters

OnFlowError = Callable[[str, str, bool], None]
_MOST_TEXT = 20_000
_OURS = str(Path(__file__).parent)
_MOST_PLACES = 1_000


class Sandbox:
    """Counts what users' code raises, and what escapes everything: the engine's own failures; and
    tells each place of it once.

    A FlowHungError goes on to whoever turns the engine. `interrupt` is a KeyboardInterrupt that
    came while such code ran: the engine's caller's, not the flow's.
    """

    def __init__(
        self,
        counters: Counters,
        on_error: OnFlowError | None,
        on_engine_error: Callable[[str], None] | None = None,
    ) -> None:
        self.interrupt: KeyboardInterrupt | None = None
        self.is_hung = False
        self._counters = counters
        self._on_error = on_error
        self._on_engine_error = on_engine_error
        self._told: set[tuple[str, ...]] = set()

    def caught(self, name: str, error: BaseException, *, hurt: bool = False) -> None:
        """A user's code raised; `hurt`: over an answer that was not ok."""
        if isinstance(error, KeyboardInterrupt):
            self.interrupt = error
            return
        if isinstance(error, FlowHungError):
            raise error
        text = "".join(traceback.format_exception(error))
        frames = [line for line in text.splitlines() if line.startswith("  File ")]
        # Wherever the engine called it from, it is the same place in the user's code.
        own = [line for line in frames if _OURS not in line]
        place = "\n".join(own or frames)
        if hurt:
            self._counters.flow_errors_over_failures += 1
        else:
            self._counters.flow_errors += 1
        key = (name, place, str(hurt))
        if key not in self._told and len(self._told) < _MOST_PLACES:
            self._told.add(key)
            try:
                if self._on_error is not None:
                    self._on_error(name, text[-_MOST_TEXT:], hurt)
            except Exception:  # nobody could be told: that is ours
                self._counters.engine_errors += 1

    def slipped(self, error: BaseException) -> None:
        """Something escaped everything: the engine's own failure."""
        if isinstance(error, KeyboardInterrupt):
            self.interrupt = error
            return
        if isinstance(error, FlowHungError) and not self.is_hung:
            self.is_hung = True
            raise error
        self._counters.engine_errors += 1
        text = "".join(traceback.format_exception(error))[-_MOST_TEXT:]
        if (text,) not in self._told and len(self._told) < _MOST_PLACES:
            self._told.add((text,))
            with contextlib.suppress(Exception):  # nobody left to tell: the count stands
                if self._on_engine_error is not None:
                    self._on_engine_error(text)
