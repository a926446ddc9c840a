"""The small parts of the page: a verdict as a chip, a table that becomes cards on a narrow
screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from stormgate.model import Verdict
from stormgate.report.words import MARKS


def chip(verdict: Verdict, word: str | None = None) -> Markup:
    """A verdict as a coloured word; the mark says it without the colour."""
    return Markup('<span class="chip {}">{} {}</span>').format(
        verdict.value, MARKS[verdict], word or verdict.value
    )


def table(
    head: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]], css: str = "cards"
) -> Markup:
    """A table from (heading, class of the column) and rows of cells. On a narrow screen each row
    becomes a card.
    """
    top = Markup("").join(
        Markup('<th class="{}">{}</th>').format(kind, name) for name, kind in head
    )
    body = []
    for row in rows:
        cells = (
            Markup('<td class="{}" data-label="{}">{}</td>').format(kind, name, value)
            for (name, kind), value in zip(head, row, strict=True)
        )
        body.append(Markup("<tr>{}</tr>").format(Markup("").join(cells)))
    return Markup('<table class="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>').format(
        css, top, Markup("\n").join(body)
    )
