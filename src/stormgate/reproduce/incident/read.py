"""An incident document to a schedule: every mistake at once, with its file, line and fix; nothing
that was seen is left out without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stormgate.documents import load_target
from stormgate.documents.heads import headed
from stormgate.documents.incident.shape import (
    KIND,
    TIME_FIX,
    IncidentShape,
    SeenShape,
    second_of,
)
from stormgate.documents.problems import DocumentErrors, Problems, label
from stormgate.documents.shapes import fit
from stormgate.documents.values import show
from stormgate.documents.yamlfile import Document, read_documents
from stormgate.net.allow import AllowList
from stormgate.reproduce.incident.journal import journal_segments
from stormgate.reproduce.incident.measured import MeasuredPart, measured_part
from stormgate.reproduce.schedule import (
    FidelityGap,
    Schedule,
    ScheduleError,
    Segment,
    schedule_of,
)

LOOPBACK = ("127.0.0.0/8", "::1/128")
_LINK = "link:"
# What Toxiproxy cannot do, and why: it works on the bytes of accepted connections.
_INEXPRESSIBLE = {
    "loss": "a proxy of connections loses no packets: TCP repeats them, which users feel as "
    "latency; say what latency or resets were seen",
    "reordering": "a proxy of connections keeps bytes in order",
    "duplication": "a proxy of connections repeats no packets",
    "corruption": "TCP's checksums turn broken packets into lost ones before a proxy sees them",
    "clock_skew": "nothing here changes a clock",
}
_PLAIN = {"blackhole": "blackhole", "refused": "refuse", "crash": "crash", "freeze": "freeze"}


@dataclass(frozen=True, slots=True)
class Incident:
    """What a document says: its schedule (with what that lacks), whom it is about, and how near the
    steps of each measured series are to it (`fits`, in words).
    """

    name: str
    title: str
    path: Path
    schedule: Schedule
    target: Path | None = None
    gate: Path | None = None
    fits: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    """One document being read: what is found, and the place of each segment in it."""

    document: Document
    shape: IncidentShape
    problems: Problems
    allow: AllowList
    segments: list[Segment] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)
    gaps: list[FidelityGap] = field(default_factory=list)
    fits: list[str] = field(default_factory=list)

    def note(self, message: str, fix: str, *loc: str | int) -> None:
        self.problems.add(self.document.file, self.document.line("spec", *loc), message, fix)

    def at(self, *loc: str | int) -> str:
        return self.document.at("spec", *loc)


def read_incident(path: Path) -> Incident:
    """The incident in a file. Series are asked for where its target allows it, else on this machine
    alone. Raises DocumentErrors.
    """
    problems = Problems()
    documents = headed(read_documents(path, problems), problems)
    problems.raise_any()
    document = documents[0]
    if (kind := document.data.get("kind")) != KIND:
        fix = "write kind: Incident, or name a run folder"
        problems.add(document.file, document.line("kind"), f"{show(kind)} is no incident", fix)
    if len(documents) > 1:
        line = documents[1].line()
        problems.add(document.file, line, "a second document in the file", "one incident, one file")
    problems.raise_any()
    shape = fit(IncidentShape, document, problems)
    problems.raise_any()
    assert shape is not None  # noqa: S101 - fit returns None only with a problem noted
    reading = _Reading(document, shape, problems, AllowList(_allowed(path, shape)))
    for index, seen in enumerate(shape.spec.seen):
        _read_seen(reading, index, seen)
    schedule = _schedule(reading)
    problems.raise_any()
    folder, spec = path.parent, shape.spec
    return Incident(
        name=shape.metadata.name,
        title=shape.metadata.display_name or shape.metadata.name,
        path=path,
        schedule=schedule,
        target=folder / spec.target if spec.target else None,
        gate=folder / spec.gate if spec.gate else None,
        fits=tuple(reading.fits),
    )


def _allowed(path: Path, shape: IncidentShape) -> Sequence[str]:
    """Who may be contacted. What is wrong with the target is told by whoever plays on it."""
    target = path.parent / shape.spec.target if shape.spec.target else None
    if target is None or not target.is_file():
        return LOOPBACK
    try:
        return load_target(target).allow
    except DocumentErrors:
        return LOOPBACK


def _schedule(reading: _Reading) -> Schedule:
    try:
        return schedule_of(
            reading.segments,
            length_s=reading.shape.spec.lasts,
            name=reading.shape.metadata.name,
            gaps=reading.gaps,
        )
    except ScheduleError as error:
        for at, message, fix in error.problems:
            place = reading.places[at] if at is not None else (reading.document.file, 1)
            reading.problems.add(place[0], place[1], message, fix)
        raise DocumentErrors(reading.problems) from error


def _read_seen(reading: _Reading, index: int, seen: SeenShape) -> None:
    loc = ("seen", index)
    for key, why in _INEXPRESSIBLE.items():
        value = getattr(seen, key)
        if value is not None:
            told = f"{value * 100:g} %" if isinstance(value, float) else str(value)
            word = "clockSkew" if key == "clock_skew" else key
            what = f"{word} of {told} on {_where(seen) or 'nothing named'}"
            gap = FidelityGap(what=what, why=why, source=reading.at(*loc, word))
            reading.gaps.append(gap)
    if seen.journal is not None:
        _read_journal(reading, seen, *loc)
        return
    if (seen.component is None) == (seen.link is None):
        told = "neither a component nor a link" if seen.component is None else "both of them"
        reading.note(f"it names {told}", "name one: component, or link: a->b", *loc)
        return
    strikes = list(_strikes(seen))
    if not strikes and seen.series is None and not _inexpressible(seen):
        told = "latency, resets, bandwidth, blackhole, refused, crash, freeze or series"
        reading.note("nothing was seen there", f"say what: {told}", *loc)
        return
    if seen.jitter is not None and (seen.latency is None or seen.jitter >= seen.latency):
        fix = "give a latency greater than the jitter"
        reading.note("jitter without a latency that it is part of", fix, *loc, "jitter")
        return
    if seen.resets_after is not None and seen.resets is None:
        reading.note("resetsAfter without resets", "say which share: resets: 20%", *loc)
        return
    times = _times(reading, seen, *loc)
    if times is None:
        return
    if seen.series is not None:
        begins = reading.shape.spec.begins
        folder = reading.document.path.parent
        found = measured_part(
            seen.series, times, begins, folder, reading.allow, reading.problems,
            lambda message, fix, *more: reading.note(message, fix, *loc, "series", *more),
        )  # fmt: skip
        if found is not None:
            _add_measured(reading, seen, found, index)
    if strikes:
        if times[1] is None:
            reading.note("nobody knows how long it lasted", "add to: or for:", *loc)
            return
        _add_strikes(reading, seen, strikes, (times[0], times[1]), index)


def _inexpressible(seen: SeenShape) -> bool:
    return any(getattr(seen, key) is not None for key in _INEXPRESSIBLE)


def _where(seen: SeenShape) -> str:
    if seen.link is not None:
        return seen.link if seen.link.startswith(_LINK) else f"{_LINK}{seen.link}"
    return seen.component or ""


def _strikes(seen: SeenShape) -> list[tuple[str, dict[str, float | int]]]:
    """(mode, parameters) of what was seen all the time."""
    found: list[tuple[str, dict[str, float | int]]] = []
    if seen.latency is not None:
        params: dict[str, float | int] = {"latency_ms": max(1, round(seen.latency))}
        if seen.jitter is not None:
            params["jitter_ms"] = round(seen.jitter)
        found.append(("slow", params))
    if seen.resets is not None and seen.resets > 0:
        after = {} if seen.resets_after is None else {"after_ms": round(seen.resets_after)}
        found.append(("lossy", {"share": seen.resets, **after}))
    if seen.bandwidth is not None:
        found.append(("bandwidth", {"rate_kb_per_s": max(1, round(seen.bandwidth))}))
    found += [(mode, {}) for key, mode in _PLAIN.items() if getattr(seen, key)]
    if not found and seen.flapping is not None and seen.series is None:
        found.append(("refuse" if seen.link is not None else "crash", {}))
    return found


def _times(
    reading: _Reading, seen: SeenShape, *loc: str | int
) -> tuple[float, float | None] | None:
    """From when to when, seconds; None with the mistake noted, an end of None for a series' own."""
    begins, found = reading.shape.spec.begins, list[float]()
    for key, moment in (("from", seen.from_), ("to", seen.to)):
        if moment is None:
            continue
        second = second_of(moment, begins)
        if second is None:
            fix = 'add begins: "2026-03-01T14:05:00Z"' if begins is None else TIME_FIX
            reading.note(f"{show(moment)} is no time from the beginning", fix, *loc, key)
            return None
        if second < 0:
            told = f"{show(moment)} lies {-second:g} s before it begins"
            reading.note(told, "let begins be the first that was seen", *loc, key)
            return None
        found.append(second)
    if seen.to is not None and seen.for_ is not None:
        reading.note("both an end and a length", "keep to: or for:", *loc, "for")
        return None
    if seen.from_ is None and seen.series is None:
        reading.note("nobody knows when it began", "add from: 0s", *loc)
        return None
    start = found[0] if seen.from_ is not None else 0.0
    if seen.to is not None:
        end: float | None = found[-1]
    elif seen.for_ is not None:
        end = round(start + seen.for_, 6)
    else:
        end = reading.shape.spec.lasts if seen.series is None else None
    if end is not None and end <= start:
        told = f"it ends at {end:g} s, and begins at {start:g} s"
        reading.note(told, "let it end after it begins", *loc, "to" if seen.to else "from")
        return None
    return start, end


def _add(reading: _Reading, segment: Segment, place: tuple[str, int]) -> None:
    reading.segments.append(replace(segment, source=f"{place[0]}:{place[1]}"))
    reading.places.append(place)


def _add_strikes(
    reading: _Reading,
    seen: SeenShape,
    strikes: Sequence[tuple[str, dict[str, float | int]]],
    times: tuple[float, float],
    index: int,
) -> None:
    place = (reading.document.file, reading.document.line("spec", "seen", index))
    for mode, params in strikes:
        start, end = times
        fault = seen.name or f"{mode} {_where(seen)}"
        if len(strikes) > 1 and seen.name:
            fault = f"{seen.name} ({mode})"
        now = start
        while now < end - 1e-6:
            down = end - now if seen.flapping is None else min(seen.flapping.down, end - now)
            segment = Segment(
                start_s=now,
                length_s=round(down, 6),
                where=_where(seen),
                mode=mode,
                params=params,
                fault=f"{fault} @{index}" if _taken(reading, fault, index) else fault,
            )
            _add(reading, segment, place)
            now = end if seen.flapping is None else now + seen.flapping.down + seen.flapping.up


def _taken(reading: _Reading, fault: str, index: int) -> bool:
    """Whether another thing that was seen has this name for its fault already."""
    here = (reading.document.file, reading.document.line("spec", "seen", index))
    return any(
        one.fault == fault and place != here
        for one, place in zip(reading.segments, reading.places, strict=True)
    )


def _add_measured(reading: _Reading, seen: SeenShape, found: MeasuredPart, index: int) -> None:
    name = seen.name or f"{found.of} {_where(seen)}"
    reading.fits.append(f"{name}: {found.told}")
    reading.gaps += [
        FidelityGap(what=f"{name}: {what}", why=why, source=source)
        for what, why, source in found.gaps
    ]
    parts = len({step.part for step in found.steps})
    for step in found.steps:
        segment = Segment(
            start_s=step.start_s,
            length_s=round(step.end_s - step.start_s, 6),
            where=_where(seen),
            mode=step.mode,
            params=step.params,
            fault=f"{name} {step.part}" if parts > 1 else name,
        )
        _add(reading, segment, (found.file, step.line))


def _read_journal(reading: _Reading, seen: SeenShape, *loc: str | int) -> None:
    path = reading.document.path.parent / str(seen.journal)
    others = seen.model_dump(exclude={"journal", "name", "from_"}, exclude_none=True)
    if others:
        told = f"a journal says itself what was seen, and there is {', '.join(sorted(others))}"
        reading.note(told, "put that into an entry of its own", *loc)
        return
    start = second_of(seen.from_, reading.shape.spec.begins) if seen.from_ else 0.0
    if start is None or start < 0:
        reading.note(f"{show(seen.from_)} is no time from the beginning", TIME_FIX, *loc, "from")
        return
    found = journal_segments(path, start, seen.name or "", reading.problems)
    if found is None:
        return
    for segment in found.segments:
        _add(reading, segment, (label(path), 1))
    reading.gaps += found.gaps
