"""The live page of a game day in a browser, over a state that is made up: what it asks, which
buttons there are when, and what pressing them says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.golden.report_cases import plan, write_run
from tests.live.axe import axe_script, violations
from tests.live.chromium import BROWSER, Tab, browser

from stormgate.supervise.hands.walk import PageAnswers, StepNow
from stormgate.supervise.live.server import LiveServer
from stormgate.supervise.live.view import LiveView

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here"),
]
S = 1_000_000_000
STEP = StepNow(1, 2, "region-loss", "crash eu-west for 8 s", "<b>London</b> moves to us-east.")
TEXT = "document.body.innerText"


class Nobody:
    """A console at which nobody sits."""

    def poll(self) -> str | None:
        raise EOFError

    def at(self, now: StepNow | None) -> None:
        pass


class Shown:
    """A page over a run in mid-fault, and the day that it shows."""

    def __init__(self, folder: Path) -> None:
        path = write_run(folder, seconds=42) / "timeline.ndjson"
        rows = [row for row in path.read_text().splitlines() if "fault.cleared" not in row]
        path.write_text("\n".join(rows) + "\n")
        self.answers = PageAnswers(Nobody())
        self._view = LiveView(folder, plan())
        self._view.poll()
        said = {name: lambda name=name: f"did {name}" for name in ("withdraw", "stop")}
        self.server = LiveServer(0, self._state, {**said, **self.answers.acts()})
        self.server.start()

    def _state(self, since_s: int) -> dict[str, Any]:
        return {
            **self._view.snapshot(1_041 * S, since_s),
            "run": 1,
            "gate": "cache-day",
            "target": "chenu-lab (laboratory)",
            "folder": "run",
            "phase": {"name": "fault[region-loss]", "lasted_s": 3.0, "left_s": None},
            "planned_per_s": 400,
            "events": [[38.1, "region-loss: crash eu-west"]],
            "objectives": [],
            "verdict": None,
            "day": self.answers.shown(),
        }

    def end(self) -> None:
        self.server.finish(None)
        self._view.close()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    made = Shown(tmp_path_factory.mktemp("run") / "run")
    yield made
    made.end()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as new_tab:
        yield new_tab()


def visible(tab: Tab, button: str) -> bool:
    return bool(tab.run(f"document.getElementById('{button}')?.checkVisibility() ?? false"))


def test_the_day_is_shown_asked_and_answered(tab: Tab, shown: Shown) -> None:
    tab.open(shown.server.address, 390)
    tab.until(lambda: "eu-west" in tab.run(TEXT))
    assert not visible(tab, "go"), "there is no step yet"
    shown.answers.at(replace(STEP, asks="Is everybody looking?"))
    tab.until(lambda: "Step 1 of 2: region-loss" in tab.run(TEXT))
    text = tab.run(TEXT)
    assert "Believed: <b>London</b> moves to us-east." in text
    assert "Is everybody looking?" in text
    tab.run("document.getElementById('go').click()")
    assert shown.answers.poll() is None, "asked once more before anything is broken"
    tab.run("document.getElementById('go').click()")
    tab.until(lambda: "go: region-loss" in tab.run(TEXT))
    assert shown.answers.poll() == "go"
    shown.answers.at(STEP)
    tab.until(lambda: not visible(tab, "go"))
    tab.run("document.getElementById('detected').click()")
    tab.until(lambda: "noted: detected" in tab.run(TEXT))
    assert shown.answers.poll() == "note detected"
    assert tab.run("document.documentElement.scrollWidth") <= 390
    assert tab.said == []


AXE = axe_script()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(AXE is None, reason="no axe-core is installed here (axe-core-python)")
def test_axe_finds_nothing_on_the_live_page(tab: Tab, shown: Shown) -> None:
    assert AXE is not None
    shown.answers.at(replace(STEP, asks="go?"))
    with tab.patient(300):
        tab.open(shown.server.address)
        tab.until(lambda: "Step 1 of 2" in tab.run(TEXT))
        assert violations(tab, AXE) == []
