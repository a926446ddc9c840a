"""The Prometheus text format (exposition format 0.0.4): what a service says of itself, read by us.
Pure.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LINE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?\s*\Z"
)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|\Z)')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a name, its labels, a value (which may be NaN or infinite)."""

    name: str
    labels: Mapping[str, str]
    value: float


def series(text: str) -> Iterator[Series]:
    """Every series of a page of metrics. Raises ValueError with the line that is none."""
    for number, written in enumerate(text.splitlines(), start=1):
        line = written.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.match(line)
        if found is None:
            raise ValueError(f"line {number} is no metric: {line[:80]!r}")
        try:
            value = float(found["value"].replace("Inf", "inf"))
        except ValueError:
            raise ValueError(f"line {number}: {found['value']!r} is no number") from None
        yield Series(found["name"], _labels(found["labels"] or "", number), value)


def _labels(text: str, number: int) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(text.rstrip()):
        label = _LABEL.match(text, at)
        if label is None:
            raise ValueError(f"line {number}: {text[at : at + 40]!r} is no label")
        value = re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), label[2])
        found[label[1]] = value
        at = label.end()
    return found


def summed(text: str, name: str, labels: Mapping[str, str]) -> float | None:
    """The sum of the series of a name whose labels have these values; None where there is none of
    them: absent is not 0. Raises ValueError for a page that cannot be read, or a series that has no
    number.
    """
    values = [
        one.value
        for one in series(text)
        if one.name == name and all(one.labels.get(k) == v for k, v in labels.items())
    ]
    if not values:
        return None
    total = math.fsum(values)
    if not math.isfinite(total):
        raise ValueError(f"{name} is {total}")
    return total
