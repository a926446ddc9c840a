"""How durations, shares and names are written in a document, and what they become."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+"
OPENSLO_DURATION = r"[1-9][0-9]*[mhdwMQY]"
SHARE = r"[0-9]+(?:\.[0-9]+)?\s*%"
NAME = r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?"

DURATION_FIX = "write a number with its unit, such as 250ms, 60s, 5m or 1h"
SHARE_FIX = "write a share as 2% or 0.02"
# A month, quarter and year of OpenSLO's rolling windows, in days.
OPENSLO_DAYS = {"m": 1 / 1440, "h": 1 / 24, "d": 1, "w": 7, "M": 30, "Q": 90, "Y": 365}


def wrong(what: str, fix: str) -> PydanticCustomError:
    """An error of a value that carries its own fix through pydantic."""
    return PydanticCustomError("stormgate", "{what}", {"what": what, "fix": fix})


def show(value: Any) -> str:
    """A value as a message quotes it: short, on one line."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def duration_s(value: Any) -> float:
    """Seconds of a duration such as `250ms`, `60s`, `5m`, `1m30s` or `0`. Raises
    PydanticCustomError, a ValueError.
    """
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if isinstance(value, str) and value.startswith("-"):
        raise wrong(f"{show(value)} is a negative duration", DURATION_FIX)
    if not isinstance(value, str) or not re.fullmatch(DURATION, value):
        raise wrong(f"{show(value)} is not a duration", DURATION_FIX)
    # Summed exactly: 100 x 0.001 + ... would give 0.30000000000000004 s for 300ms.
    total_us = sum(
        round(float(n) * UNITS_S[u] * 1e6) for n, u in re.findall(r"([0-9.]+)(ms|s|m|h|d)", value)
    )
    if total_us > UNITS_S["d"] * 366 * 1e6:
        raise wrong(f"{show(value)} is longer than a year", DURATION_FIX)
    return total_us / 1e6


def duration_ms(value: Any) -> float:
    """Milliseconds of a duration."""
    return round(duration_s(value) * 1000, 6)


def positive_s(value: Any) -> float:
    """Seconds of a duration longer than nothing."""
    seconds = duration_s(value)
    if seconds <= 0:
        raise wrong(f"{show(value)} is no time at all", DURATION_FIX)
    return seconds


def positive_ms(value: Any) -> float:
    """Milliseconds of a duration longer than nothing."""
    return round(positive_s(value) * 1000, 6)


def share(value: Any) -> float:
    """A fraction of one, from `2%` or `0.02`. Raises PydanticCustomError outside 0..1."""
    result = fraction(value)
    if not 0 <= result <= 1:
        raise wrong(f"{show(value)} is not a share of one", "a share lies between 0% and 100%")
    return result


def fraction(value: Any) -> float:
    """A number that may be written in percent; its bounds are for whoever declared the field to
    check.
    """
    if isinstance(value, str) and re.fullmatch(SHARE, value):
        return round(float(value.rstrip("% ")) / 100, 12)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong(f"{show(value)} is not a share", SHARE_FIX)
    return float(value)


def openslo_window_s(value: str) -> float:
    """Seconds of an OpenSLO duration (m, h, d, w, M, Q, Y); a month counts 30 days, a quarter 90, a
    year 365.
    """
    return float(value[:-1]) * OPENSLO_DAYS[value[-1]] * 86400


def _name(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(NAME, value):
        raise wrong(
            f"{show(value)} is not a name",
            "use lower-case letters, digits, dots and dashes, at most 63 of them",
        )
    return value


_DURATION_SCHEMA = {
    "type": "string",
    "pattern": f"^{DURATION}$",
    "examples": ["250ms", "60s", "5m"],
}
_SHARE_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": f"^{SHARE}$"},
    ],
    "examples": ["2%", 0.02],
}

Seconds = Annotated[float, BeforeValidator(duration_s), WithJsonSchema(_DURATION_SCHEMA)]
PositiveSeconds = Annotated[float, BeforeValidator(positive_s), WithJsonSchema(_DURATION_SCHEMA)]
PositiveMilliseconds = Annotated[
    float, BeforeValidator(positive_ms), WithJsonSchema(_DURATION_SCHEMA)
]
Share = Annotated[float, BeforeValidator(share), WithJsonSchema(_SHARE_SCHEMA)]
Name = Annotated[
    str, BeforeValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})
]

DURATION_SCHEMA = _DURATION_SCHEMA
SHARE_SCHEMA = _SHARE_SCHEMA
