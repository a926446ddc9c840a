"""Whether a trace is whole, by its spans (traces.ndjson). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def by_trace(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The spans of each trace."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row["trace"]), []).append(row)
    return found


def broken_at(spans: Iterable[Mapping[str, Any]]) -> str | None:
    """What is missing in a trace, in words; None when it is whole: one beginning, the parent of
    each span there, and below each call that was answered the span of who answered.
    """
    listed = list(spans)
    known = {str(span["span"]) for span in listed}
    roots = [span for span in listed if not span["parent"]]
    if len(roots) != 1:
        return "has no beginning" if not roots else "begins more than once"
    if any(span["parent"] and span["parent"] not in known for span in listed):
        return "lacks a span that others name as their parent"
    served = {str(span["parent"]) for span in listed if span["kind"] == "server"}
    if any(s["kind"] == "client" and s["status"] > 0 and s["span"] not in served for s in listed):
        return "ends at a call that was answered"
    return None
