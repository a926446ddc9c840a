"""The small parts of the page: a verdict as a chip, a table that becomes cards on a narrow screen,
the numbers below a chart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from stormgate.model import Verdict
from stormgate.report.words import MARKS, one_line

LONG = 28


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
        Markup('<th scope="col" class="{}">{}</th>').format(kind, name) for name, kind in head
    )
    body = []
    for row in rows:
        cells = (
            Markup('<td class="{}" data-label="{}">{}</td>').format(
                # A short word stays whole; one that would push the page aside may break.
                f"{kind} long"
                if len(str(value)) > LONG and not isinstance(value, Markup)
                else kind,
                name,
                value,
            )
            for (name, kind), value in zip(head, row, strict=True)
        )
        body.append(Markup("<tr>{}</tr>").format(Markup("").join(cells)))
    return Markup('<table class="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>').format(
        css, top, Markup("\n").join(body)
    )


def figures(title: str, head: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> Markup:
    """The numbers of a chart, folded away: many, and plain."""
    if not rows:
        return Markup("")
    top = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name, _ in head)
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}").format(v) for v in row))
        for row in rows
    )
    return Markup(
        '<details class="numbers"><summary>Numbers: {}</summary><div class="box" tabindex="0" '
        'role="region" aria-label="Numbers: {}"><table class="figures"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div></details>"
    ).format(title, title, top, body)


def heading(words: str, anchor: str) -> Markup:
    """A section's heading, with an anchor to link to."""
    return Markup('<h2 id="{0}"><a href="#{0}">{1}</a></h2>').format(anchor, words)


def slug(words: str) -> str:
    """A word for an anchor; names that only differ in other signs keep apart by a digest."""
    plain = re.sub(r"[^a-z0-9]+", "-", one_line(words).lower()).strip("-")[:60]
    if plain == words:
        return plain
    return f"{plain}-{hashlib.sha256(words.encode(errors='replace')).hexdigest()[:6]}".lstrip("-")
