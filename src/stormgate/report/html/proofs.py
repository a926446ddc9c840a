"""Cells that are about data name the very keys: each proof with what is known of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from stormgate.model import Cell
from stormgate.report.html.parts import table
from stormgate.report.words import DASH, amount, count, one_line

MOST_COLUMNS = 10
MOST_WORDS = 6


def proofs(cells: Iterable[Cell]) -> Markup:
    """A table of the cells whose detail names a `key`, a column for each thing that is known of
    one; a second of the run (`..._s`) leads there. Empty where no cell does.
    """
    proven = [cell for cell in cells if isinstance(cell.detail.get("key"), str)]
    if not proven:
        return Markup("")
    known = dict.fromkeys(name for cell in proven for name in cell.detail)
    columns = ["key", *(name for name in known if name != "key")][:MOST_COLUMNS]
    head = [(one_line(name).removesuffix("_s").replace("_", " "), _kind(name)) for name in columns]
    rows = [[_shown(name, cell.detail.get(name)) for name in columns] for cell in proven]
    return Markup("<p><b>The very keys</b></p>{}").format(table(head, rows))


def _kind(column: str) -> str:
    return "name" if column == "key" else "number" if column.endswith("_s") else "word"


def _shown(column: str, value: Any) -> Markup | str:
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            return DASH
        if column.endswith("_s"):
            told = '<a href="#t={}">{} s</a>'
            return Markup(told).format(f"{max(0.0, value):.1f}", f"{value:.3f}")  # noqa: S704
        return count(value) if isinstance(value, int) else amount(value, "")
    if isinstance(value, Sequence) and not isinstance(value, str):
        more = f" and {len(value) - MOST_WORDS} more" if len(value) > MOST_WORDS else ""
        return one_line(", ".join(str(one) for one in value[:MOST_WORDS])) + more
    return one_line(str(value))
