"""A series from a CSV file: a column of times and one of values, each mistake with its line."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from stormgate.documents.problems import Problems, label, nearest
from stormgate.documents.values import show
from stormgate.reproduce.series.measured import (
    MeasuredSeries,
    SeriesSample,
    Silence,
    series_of,
)

MAX_BYTES = 64 << 20
# The first few mistakes of a file teach what is wrong with it; the thousandth says the same.
_MOST_TOLD = 20
_TIME_NAMES = ("time", "timestamp", "at", "ts", "t", "date", "second", "seconds", "time_s", "at_s")
_MS_SINCE_1970 = 1e11  # seconds would be the year 5138: such numbers are milliseconds
_NOTHING = {"", "nan", "null", "none", "-", "+inf", "-inf", "inf"}


def read_csv(
    path: Path, problems: Problems, *, column: str | None = None, time: str | None = None
) -> MeasuredSeries | None:
    """The series in a CSV file with a header. Times are seconds, seconds or milliseconds since
    1970, or ISO 8601 (UTC where no zone is said); a value that is empty or NaN is unknown, and so a
    silence. What is wrong is noted in `problems`, and then there is none.
    """
    name, text = label(path), read_text(path, problems)
    if text is None:
        return None
    rows = list(enumerate(csv.reader(text.splitlines()), start=1))
    rows = [(line, row) for line, row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        fix = "write a header and a line for each sample, such as: time,latency_ms"
        problems.add(name, 1, "no samples in it", fix)
        return None
    line, cells = rows[0]
    header = [cell.strip() for cell in cells]
    if all(_is_number(cell) for cell in header):
        fix = "give it a header, such as: time,latency_ms"
        problems.add(name, line, "the first line is a sample", fix)
        return None
    at_time = _column(header, time, problems, name, line, what="time")
    at_value = _column(header, column, problems, name, line, what="column", not_=at_time)
    if at_time is None or at_value is None:
        return None
    return _series(rows[1:], at_time, at_value, header, problems, name)


def read_text(path: Path, problems: Problems) -> str | None:
    """A file as text; what keeps it from being read is noted."""
    try:
        if path.stat().st_size > MAX_BYTES:
            fix = "cut out what belongs to the incident"
            problems.add(label(path), 1, f"larger than {MAX_BYTES >> 20} MiB", fix)
            return None
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problems.add(label(path), 1, "not UTF-8 text", "save the file as UTF-8")
    except OSError as error:
        why = error.strerror or str(error)
        problems.add(label(path), 1, f"cannot be read: {why}", "check the path")
    return None


def time_s(text: str) -> float | None:
    """Seconds of a time as a table writes it: a number (as it is; milliseconds since 1970 become
    seconds) or ISO 8601 (seconds since 1970). None for anything else.
    """
    text = text.strip()
    if _is_number(text):
        number = float(text)
        return number / 1000 if abs(number) >= _MS_SINCE_1970 else number
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def check_sample(value: float, at_s: float, last_s: float | None) -> tuple[str, str] | None:
    """What is wrong with a sample that follows one at `last_s`, and the fix; None for nothing."""
    if value < 0:
        return f"{value:g} is less than nothing", "a series holds values from 0 on"
    if last_s is not None and at_s <= last_s:
        word = "backward" if at_s < last_s else "not on"
        return f"time goes {word}: {at_s:g} s after {last_s:g} s", "sort it by time, each time once"
    return None


def _series(
    rows: Sequence[tuple[int, list[str]]],
    at_time: int,
    at_value: int,
    header: Sequence[str],
    problems: Problems,
    name: str,
) -> MeasuredSeries | None:
    samples: list[SeriesSample] = []
    unknown: list[Silence] = []
    wrong = 0
    last_s: float | None = None
    for line, row in rows:
        misfit = None
        cells = [row[at].strip() if at < len(row) else "" for at in (at_time, at_value)]
        at_s = time_s(cells[0])
        if at_s is None:
            misfit = (
                f"{show(cells[0])} is not a time",
                "write seconds, seconds since 1970, or 2026-03-01T14:05:00Z",
            )
        elif cells[1].lower() in _NOTHING:
            unknown.append(Silence(at_s, at_s, line))
        elif not _is_number(cells[1]):
            misfit = (f"{show(cells[1])} is not a number", "write the number alone, as 12.5")
        else:
            misfit = check_sample(float(cells[1]), at_s, last_s)
            samples.append(SeriesSample(at_s, float(cells[1]), line))
            last_s = at_s
        if misfit is not None:
            wrong += 1
            if wrong <= _MOST_TOLD:
                problems.add(name, line, *misfit)
    if not wrong and not samples:
        problems.add(name, rows[0][0], f"no value in {header[at_value]!r}", "take another column")
    if wrong or not samples:
        return None
    return series_of(samples, unknown=unknown, file=name, column=header[at_value])


def _column(
    header: Sequence[str],
    wanted: str | None,
    problems: Problems,
    name: str,
    line: int,
    *,
    what: str,
    not_: int | None = None,
) -> int | None:
    if wanted is not None:
        if wanted in header:
            return header.index(wanted)
        problems.add(name, line, f"no column {wanted!r}", nearest(wanted, header, what="columns"))
        return None
    if what == "time":
        return next((n for n, cell in enumerate(header) if cell.lower() in _TIME_NAMES), 0)
    others = [n for n in range(len(header)) if n != not_]
    if len(others) == 1:
        return others[0]
    if not_ is None or not others:
        problems.add(name, line, "no column of values", "write a time and a value in each line")
    else:
        told = ", ".join(header[n] for n in others)
        problems.add(name, line, "several columns of values", f"say which, column: one of {told}")
    return None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False
