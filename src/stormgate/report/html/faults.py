"""What was broken and when: each fault with the four instants that make it evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from stormgate.model import Event
from stormgate.report.charts.timeline import MARKS_OF_A_FAULT, Span
from stormgate.report.html.parts import table
from stormgate.report.words import DASH, one_line

_STEPS = {
    Event.FAULT_REQUESTED: "asked",
    Event.FAULT_ACKNOWLEDGED: "acknowledged",
    Event.FAULT_OBSERVED: "seen",
    Event.FAULT_CLEARED: "cleared",
}


def fault_spans(
    timeline_rows: Iterable[Mapping[str, Any]], begin_ns: int, end_ns: int
) -> list[Span]:
    """Each component's fault from request to clearing, seconds of the run; one that was never
    cleared lasts to the end.
    """
    opened: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in timeline_rows:
        event, at = row.get("event"), row.get("at_ns")
        key = (str(row.get("fault", "")), str(row.get("component", "")), str(row.get("id", "")))
        if event not in _STEPS or not isinstance(at, int):
            continue
        if event == Event.FAULT_REQUESTED:
            opened.setdefault(key, {"mode": str(row.get("mode", "")), "at": {}})
        if key not in opened:
            continue
        opened[key]["at"].setdefault(_STEPS[Event(str(event))], (at - begin_ns) / 1e9)
        if event == Event.FAULT_OBSERVED:
            opened[key].setdefault("proof", short(row.get("proof", "seen")))
    spans = []
    for (name, component, _), one in opened.items():
        proof = f"observed: {one['proof']}" if "proof" in one else "no effect observed"
        cleared = "" if "cleared" in one["at"] else ", never cleared"
        spans.append(
            Span(
                one_line(name),
                one["at"]["asked"],
                one["at"].get("cleared", (end_ns - begin_ns) / 1e9),
                "proven" if "proof" in one else "unproven",
                one_line(f"{name}: {one['mode']} {component} ({proof}{cleared})"),
                tuple(one["at"].items()),
            )
        )
    return spans


def short(value: Any) -> str:
    """A timeline row's field in a few words: of a list the first two and how many more, of a
    mapping its words.
    """
    if isinstance(value, Mapping):
        return " ".join(str(one) for one in value.values() if isinstance(one, str))
    if isinstance(value, list):
        more = f" and {len(value) - 2} more" if len(value) > 2 else ""
        return "; ".join(short(one) for one in value[:2]) + more
    return str(value)


def whole(spans: Sequence[Span]) -> list[Span]:
    """One span per fault, from its first request to its last clearing."""
    names = list(dict.fromkeys(s.name for s in spans))
    of = {name: [s for s in spans if s.name == name] for name in names}
    return [Span(n, min(s.begin_s for s in of[n]), max(s.end_s for s in of[n]), "") for n in names]


def fault_table(spans: Sequence[Span]) -> Markup:
    """The four instants in figures; a dash is what never happened."""
    if not spans:
        return Markup("")
    head = [("What was broken", "name")]
    head += [(f"{glyph} {word}", "number") for word, glyph in MARKS_OF_A_FAULT]
    rows = []
    for span in spans:
        at = dict(span.marks)
        asked = at["asked"]
        figures = [f"{asked:.2f} s"]
        for word, _ in MARKS_OF_A_FAULT[1:]:
            figures.append(f"+{at[word] - asked:.2f} s" if word in at else DASH)
        rows.append((span.title, *figures))
    return table(head, rows)
