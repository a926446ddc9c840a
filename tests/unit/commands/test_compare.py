"""What `compare` prints of folders that anybody wrote."""

from __future__ import annotations

import io

from rich.console import Console

from stormgate.commands.finished.compare import render
from stormgate.judge.compare import Comparison, Row
from stormgate.report.html.comparison import comparison_html


def test_names_are_text_and_steer_no_terminal() -> None:
    row = Row(
        name="\x1b]0;gone\x07[red]p95[/red]",
        kind="latency",
        unit="ms",
        limit=None,
        values=(1.0, 2.0),
        verdicts=("PASS", "PASS"),
        samples=(9, 9),
        difference=1.0,
        low=0.5,
        high=1.5,
        telling="slower\x1b[2J",
    )
    comparison = Comparison(("g", "g"), ("PASS", "PASS"), True, 0.95, (row,))
    screen = Console(file=io.StringIO(), width=200)
    screen.print(render(comparison, ("a\x1b[31m", "b")))
    shown = screen.file.getvalue()
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]p95[/red]" in shown


def test_the_page_of_a_comparison_is_text_and_needs_no_script() -> None:
    def row(name: str, low: float | None, high: float | None, unit: str = "ms") -> Row:
        return Row(
            name=name,
            kind="latency",
            unit=unit,
            limit=None,
            values=(1.0, None if low is None else 2.0),
            verdicts=("PASS", None if low is None else "FAIL"),
            samples=(1200, 9),
            difference=None if low is None else 1.0,
            low=low,
            high=high,
            telling="<b>slower</b>",
        )

    rows = (
        row("p95<script>", 0.5, 1.5),
        row("gone", None, None),
        row("share", -0.01, 0.02, "share"),
    )
    page = comparison_html(
        Comparison(("g", "g"), ("PASS", "FAIL"), False, 0.95, rows), ("<a>", "b")
    )
    assert "<script" not in page
    assert "&lt;b&gt;slower" in page
    assert "Not judged against the same plan" in page
    assert "+500 " not in page
    assert "+0.5 ms to +1.5 ms" in page
    assert "-1.0000 % to +2.0000 %" in page
    assert page.count("<svg") == 2
    assert "script-src" not in page
