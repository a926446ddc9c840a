"""The form of an incident document. What the keys mean: docs/reproduce.md."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from stormgate.documents.shapes import Ours, Shape
from stormgate.documents.values import (
    DURATION,
    PositiveMilliseconds,
    PositiveSeconds,
    Share,
    duration_s,
    show,
    wrong,
)

KIND = "Incident"
TIME_FIX = 'write 90s (from the beginning), "14:05:10" or "2026-03-01T14:05:10Z" (with begins)'
BANDWIDTH = r"([0-9]+(?:\.[0-9]+)?)\s*(B|KB|MB|kbit|Mbit)/s"
KB_PER_S = {"B": 0.001, "KB": 1.0, "MB": 1000.0, "kbit": 0.125, "Mbit": 125.0}


def kb_per_s(value: Any) -> float:
    """KB/s (1000 bytes) of a bandwidth such as `64 KB/s` or `1 Mbit/s`. Raises a ValueError."""
    found = re.fullmatch(BANDWIDTH, value) if isinstance(value, str) else None
    if found is None or float(found[1]) <= 0:
        fix = "write a number with its unit: 64 KB/s, 1 MB/s, 512 kbit/s"
        raise wrong(f"{show(value)} is not a bandwidth", fix)
    return float(found[1]) * KB_PER_S[found[2]]


def _instant(value: Any) -> Any:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        found = None
    if found is None or found.tzinfo is None:
        fix = 'write day, time and zone: "2026-03-01T14:05:00Z"'
        raise wrong(f"{show(value)} is not an instant", fix)
    return found.timestamp()


def _time(value: Any) -> Any:
    """A time of an incident, left as it is written: which second it is `begins` decides."""
    if value == 0 and not isinstance(value, bool):
        return "0s"
    known = (DURATION, r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?", r"\d{4}-\d{2}-\d{2}.+")
    if not isinstance(value, str) or not any(re.fullmatch(one, value) for one in known):
        raise wrong(f"{show(value)} is not a time", TIME_FIX)
    return value


Instant = Annotated[float, BeforeValidator(_instant)]
Moment = Annotated[str, BeforeValidator(_time)]
Bandwidth = Annotated[float, BeforeValidator(kb_per_s)]


class PrometheusShape(Shape):
    """A range query to ask an API for: over the time of what was seen."""

    url: str = Field(pattern=r"^https?://[^\s@]+$")
    query: str = Field(min_length=1)
    step: PositiveSeconds = 5.0


class SeriesShape(Shape):
    """A measured series, and how near to it the steps have to be."""

    of: Literal["latency", "resets", "bandwidth", "loss"] = "latency"
    csv: str | None = None
    column: str | None = None
    time: str | None = None
    prometheus: str | PrometheusShape | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    unit: str | None = None
    baseline: float = Field(default=0.0, ge=0)
    error: Share = 0.05
    error_at_least: float | None = Field(default=None, gt=0)
    gaps: Literal["refuse", "hold", "quiet"] = "refuse"


class FlappingShape(Shape):
    """Down and up again, over and over, for as long as it was seen."""

    down: PositiveSeconds
    up: PositiveSeconds


class SeenShape(Shape):
    """One thing that was seen, at one place, for one time."""

    name: str | None = Field(default=None, min_length=1)
    component: str | None = Field(default=None, min_length=1)
    link: str | None = Field(default=None, min_length=1)
    journal: str | None = Field(default=None, min_length=1)
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None
    for_: PositiveSeconds | None = Field(default=None, alias="for")
    latency: PositiveMilliseconds | None = None
    jitter: PositiveMilliseconds | None = None
    resets: Share | None = None
    resets_after: PositiveMilliseconds | None = None
    bandwidth: Bandwidth | None = None
    blackhole: Literal[True] | None = None
    refused: Literal[True] | None = None
    crash: Literal[True] | None = None
    freeze: Literal[True] | None = None
    flapping: FlappingShape | None = None
    series: SeriesShape | None = None
    loss: Share | None = None
    reordering: Share | None = None
    duplication: Share | None = None
    corruption: Share | None = None
    clock_skew: str | None = None


class IncidentSpec(Shape):
    """What an incident says. `begins` is the instant that 0 s is; `lasts` how long all of it."""

    target: str | None = None
    gate: str | None = None
    begins: Instant | None = None
    lasts: PositiveSeconds | None = None
    seen: list[SeenShape] = Field(min_length=1)


class IncidentShape(Ours):
    """An incident document."""

    kind: Literal["Incident"]
    spec: IncidentSpec


def second_of(moment: str, begins: float | None) -> float | None:
    """Seconds from the beginning of a time as it is written; None where it needs a `begins` and
    there is none, or is no time after all.
    """
    if re.fullmatch(DURATION, moment) or moment == "0s":
        return duration_s(moment)
    if begins is None:
        return None
    if re.match(r"\d{4}-", moment):
        try:
            found = datetime.fromisoformat(moment)
        except ValueError:
            return None
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return round(found.timestamp() - begins, 6)
    hours, minutes, *seconds = (float(part) for part in moment.split(":"))
    clock_s = hours * 3600 + minutes * 60 + sum(seconds)
    after_s = clock_s - begins % 86_400
    # A clock that shows less than at the beginning, by half a day, has passed midnight.
    return round(after_s + 86_400 if after_s < -43_200 else after_s, 6)
