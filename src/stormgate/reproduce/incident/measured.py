"""A series of an incident document to steps of one mode, in the units that toxics have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from stormgate.documents.incident.shape import KB_PER_S, PrometheusShape, SeriesShape
from stormgate.documents.problems import Problems, nearest
from stormgate.net.allow import AllowList
from stormgate.reproduce.series.measured import MeasuredSeries, SeriesSample
from stormgate.reproduce.series.prometheus import ask_prometheus, parse, read_prometheus
from stormgate.reproduce.series.steps import AllowedError, StepFit, fit_steps
from stormgate.reproduce.series.table import read_csv

Note = Callable[..., None]

_SINCE_1970_S = 1e8  # no incident lasts three years: such times are instants
_SHARES = {"share": 1000.0, "percent": 10.0, "%": 10.0}
# To milliseconds, to thousandths of all connections, to KB/s: toxics know whole numbers.
UNITS = {
    "latency": {"ms": 1.0, "s": 1000.0, "us": 0.001},
    "resets": _SHARES,
    "loss": _SHARES,
    "bandwidth": {f"{unit}/s": factor for unit, factor in KB_PER_S.items()},
}
_TOLD = {"latency": "ms", "resets": "‰", "loss": "‰", "bandwidth": "KB/s"}
_LEAST = {"latency": 2.0, "resets": 5.0, "loss": 5.0, "bandwidth": 1.0}
_SUFFIXES = {
    "_ms": "ms", "_milliseconds": "ms", "_s": "s", "_seconds": "s", "_us": "us",
    "_percent": "percent", "_share": "share", "_ratio": "share",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """One step: its mode and parameters, its line in the series' file, and of which connected part
    of the series it is (1, 2, ...): between parts nothing was wrong.
    """

    start_s: float
    end_s: float
    mode: str
    params: dict[str, float | int]
    line: int
    part: int


@dataclass(frozen=True, slots=True)
class MeasuredPart:
    """What a series came to. `told`: how near its steps are; `gaps`: (what, why, source)."""

    of: str
    file: str
    steps: tuple[MeasuredStep, ...]
    told: str
    gaps: tuple[tuple[str, str, str], ...]


def measured_part(
    shape: SeriesShape,
    times: tuple[float, float | None],
    begins: float | None,
    folder: Path,
    allow: AllowList,
    problems: Problems,
    note: Note,
) -> MeasuredPart | None:
    """The steps of a series within `times` (seconds from the beginning; an end of None: as long as
    the series goes). None with all that is wrong noted; `note(message, fix, *place in the series)`.
    """
    series = _read(shape, times, begins, folder, allow, problems, note)
    if series is None:
        return None
    factor = _factor(shape, series.column, note)
    if factor is None:
        return None
    found = _placed(series, times, begins, note)
    if found is None:
        return None
    whole = _over_baseline(found.scaled(factor), shape.baseline * factor)
    source = f"{series.file}:{series.samples[0].line}"
    if whole.silences and shape.gaps == "refuse":
        _refuse_silences(whole, note)
        return None
    least = shape.error_at_least
    allowed = AllowedError(shape.error, _LEAST[shape.of] if least is None else least * factor)
    fit = fit_steps(whole, allowed, hold_silences=shape.gaps == "hold")
    gaps = [
        (
            f"nothing is known from {one.from_s + whole.step_s:g} to {one.to_s:g} s",
            "the value before stands on" if shape.gaps == "hold" else "left unbroken",
            f"{series.file}:{one.line}",
        )
        for one in whole.silences
    ]
    if shape.of == "loss":
        why = "a proxy of connections loses no packets; nothing is played"
        gaps.append(("measured packet loss", why, source))
        return MeasuredPart("loss", series.file, (), "not played", tuple(gaps))
    if series.samples[0].line and shape.of == "latency":
        why = "every request gets the delay of its step: the spread around the series is not in it"
        gaps.append((f"latency as {series.column}", why, source))
    steps = _steps(shape.of, fit, times[1])
    return MeasuredPart(shape.of, series.file, steps, fit.told(_TOLD[shape.of]), tuple(gaps))


def _read(
    shape: SeriesShape,
    times: tuple[float, float | None],
    begins: float | None,
    folder: Path,
    allow: AllowList,
    problems: Problems,
    note: Note,
) -> MeasuredSeries | None:
    if (shape.csv is None) == (shape.prometheus is None):
        note("a series from nowhere, or from two places", "say csv: FILE, or prometheus: FILE")
        return None
    if shape.csv is not None:
        path = folder / shape.csv
        return read_csv(path, problems, column=shape.column, time=shape.time)
    if isinstance(shape.prometheus, PrometheusShape):
        return _ask(shape, shape.prometheus, times, begins, allow, problems, note)
    return read_prometheus(folder / str(shape.prometheus), problems, labels=shape.labels)


def _ask(
    shape: SeriesShape,
    api: PrometheusShape,
    times: tuple[float, float | None],
    begins: float | None,
    allow: AllowList,
    problems: Problems,
    note: Note,
) -> MeasuredSeries | None:
    start, end = times
    if begins is None or end is None:
        note("nobody knows which time to ask for", "add begins: to the incident and to: here")
        return None
    try:
        text = ask_prometheus(api.url, api.query, begins + start, begins + end, api.step, allow)
    except (OSError, ValueError) as error:
        note(f"{api.url} was asked in vain: {error}", "save its answer, and name the file")
        return None
    return parse(text, api.url, problems, shape.labels)


def _factor(shape: SeriesShape, column: str, note: Note) -> float | None:
    known = UNITS[shape.of]
    unit = shape.unit
    if unit is None:
        name = column.partition("{")[0]
        unit = next((u for end, u in _SUFFIXES.items() if name.endswith(end) and u in known), None)
    if unit is None:
        note(f"nobody knows the unit of {column!r}", f"add unit: one of {', '.join(known)}")
        return None
    if unit not in known:
        note(f"{unit!r} is no unit of {shape.of}", nearest(unit, known, what="units"), "unit")
        return None
    return known[unit]


def _placed(
    series: MeasuredSeries, times: tuple[float, float | None], begins: float | None, note: Note
) -> MeasuredSeries | None:
    """The part within `times`, in seconds from the beginning."""
    first = series.samples[0].at_s
    if first >= _SINCE_1970_S:
        if begins is None:
            said = datetime.fromtimestamp(first, UTC).isoformat().replace("+00:00", "Z")
            note("its times are instants, and the incident has none", f'add begins: "{said}"')
            return None
        series = _shifted(series, -begins)
    end = series.end_s if times[1] is None else times[1]
    found = series.between(times[0], end)
    if found is None:
        told = f"it says nothing of {times[0]:g} to {end:g} s"
        note(told, f"it knows {_stretches(series.known())}")
        return None
    if times[1] is not None and (late := end - found.end_s) > found.step_s * 1.5:
        told = f"it ends {late:g} s before what was seen does, at {found.end_s:g} s"
        note(told, f"let it end sooner: to: {found.end_s:g}s")
        return None
    return found


def _shifted(series: MeasuredSeries, by_s: float) -> MeasuredSeries:
    samples = tuple(SeriesSample(round(o.at_s + by_s, 6), o.value, o.line) for o in series.samples)
    silences = tuple(
        replace(o, from_s=round(o.from_s + by_s, 6), to_s=round(o.to_s + by_s, 6))
        for o in series.silences
    )
    return replace(series, samples=samples, silences=silences)


def _over_baseline(series: MeasuredSeries, baseline: float) -> MeasuredSeries:
    if baseline == 0:
        return series
    samples = tuple(
        SeriesSample(one.at_s, max(0.0, one.value - baseline), one.line) for one in series.samples
    )
    return replace(series, samples=samples)


def _refuse_silences(series: MeasuredSeries, note: Note) -> None:
    known = _stretches(series.known())
    for one in series.silences:
        note(
            f"{series.file}:{one.line}: nothing is known from {one.from_s + series.step_s:g} to "
            f"{one.to_s:g} s; what can be played: {known}",
            "gaps: quiet leaves that unbroken, gaps: hold keeps the value before it",
        )


def _stretches(known: list[tuple[float, float]]) -> str:
    return ", ".join(f"{begin:g} to {end:g} s" for begin, end in known)


def _steps(of: str, fit: StepFit, end_s: float | None) -> tuple[MeasuredStep, ...]:
    found: list[MeasuredStep] = []
    part, last = 0, None
    for step in fit.steps:
        over_s = step.end_s if end_s is None else min(step.end_s, end_s)
        mode, params = _strike(of, step.value)
        if mode is None or over_s <= step.start_s:
            continue
        part += last is None or step.start_s - last > 1e-6
        last = over_s
        found.append(MeasuredStep(step.start_s, over_s, mode, params, step.line, int(part)))
    return tuple(found)


def _strike(of: str, value: int) -> tuple[str | None, dict[str, float | int]]:
    """How a step is played; a mode of None for a step in which nothing is wrong."""
    if of == "bandwidth":
        return ("bandwidth", {"rate_kb_per_s": value}) if value else ("blackhole", {})
    if value == 0:
        return None, {}
    if of == "latency":
        return "slow", {"latency_ms": value}
    return "lossy", {"share": min(1.0, value / 1000)}
