"""Every text of every verdict, byte for byte.

After a wanted change run this file with STORMGATE_UPDATE_GOLDEN=1 and read the diff.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console
from tests.golden.report_cases import CASES, WAIVED, plan, write_run

from stormgate.evidence import open_run
from stormgate.model import Judgement
from stormgate.report import initial, junit_xml, report_html, summary_md, verdict_json
from stormgate.report.console import print_judgement

HERE = Path(__file__).parent / "report"
ALL = {**{verdict.value: judgement for verdict, judgement in CASES.items()}, "WAIVED": WAIVED}


def same(name: str, text: str) -> None:
    path = HERE / name
    if os.environ.get("STORMGATE_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def console_text(judgement: Judgement, width: int) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=False, color_system=None, highlight=False
    )
    print_judgement(judgement, Path("reports/20261124T213000Z-chenu-release-7f3a"), console, plan())
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


@pytest.mark.parametrize("name", ALL)
def test_texts(name: str) -> None:
    judgement = ALL[name]
    same(f"{name}.json", verdict_json(judgement))
    same(f"{name}.xml", junit_xml(judgement))
    same(f"{name}.md", summary_md(judgement))
    same(f"{name}.80.txt", console_text(judgement, 80))


def test_what_stands_from_the_first_second() -> None:
    texts = initial(plan())
    assert sorted(texts) == ["junit.xml", "summary.md", "verdict.json"]
    for name, text in texts.items():
        same(f"initial.{name}", text)


def test_the_page_of_a_run_is_the_same_every_time(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    first, second = (report_html(CASES[v], open_run(folder)) for v in (list(CASES)[1],) * 2)
    assert first == second
