"""What `compare` prints of folders that anybody wrote."""

from __future__ import annotations

import io

from rich.console import Console

from stormgate.commands.compare import render
from stormgate.judge.compare import Comparison, Row


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
