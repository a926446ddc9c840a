"""A run for who wants no screen: a line at the end, or an object a line for a program."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stormgate.model import Judgement
from stormgate.report.words import headline, one_line

FIGURES_EVERY_S = 1.0

Write = Callable[[str], object]


class QuietScreen:
    """Says the verdict, why, and where the evidence is: one line, when the run is over."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def phase(self, name: str, seconds: float | None) -> None:
        """Nothing."""

    def tick(self, stats: Mapping[str, Any]) -> None:
        """Nothing."""

    def event(self, text: str) -> None:
        """Nothing."""

    def done(self, judgement: Judgement, folder: Path) -> None:
        told = f"{judgement.verdict} {one_line(judgement.gate)}: {headline(judgement)}"
        self._write(f"{told} ({folder})")


class NdjsonScreen:
    """What happens, as it happens: `{"at_s", "event": "phase"|"figures"|"said"|"done", ...}` a
    line. Times are seconds since the screen was made; a figure that was not measured is null.
    """

    def __init__(self, write: Write, clock: Callable[[], float]) -> None:
        self._write, self._clock = write, clock
        self._began = clock()
        self._figures_at = -math.inf

    def phase(self, name: str, seconds: float | None) -> None:
        self._say("phase", phase=name, planned_s=seconds)

    def tick(self, stats: Mapping[str, Any]) -> None:
        now = self._clock()
        if now - self._figures_at >= FIGURES_EVERY_S:
            self._figures_at = now
            self._say("figures", **stats)

    def event(self, text: str) -> None:
        self._say("said", text=one_line(text))

    def done(self, judgement: Judgement, folder: Path) -> None:
        self._say(
            "done",
            verdict=judgement.verdict.value,
            exit_code=judgement.exit_code,
            gate=judgement.gate,
            why=headline(judgement),
            folder=str(folder),
        )

    def _say(self, event: str, **fields: Any) -> None:
        plain = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in fields.items()
        }
        row = {"at_s": round(self._clock() - self._began, 3), "event": event, **plain}
        self._write(json.dumps(row, ensure_ascii=True, allow_nan=False))
