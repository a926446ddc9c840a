"""`stormgate gate --live` in a browser: two people look, one takes the fault back, one stops the
run, and both are left with the report; when the gate is killed, with what was last seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from tests.live.chromium import BROWSER, Tab, browser
from tests.live.gate.bench import FAULT, Gate, Suite

from stormgate.faults.ledger import open_entries

pytestmark = [
    pytest.mark.live,
    pytest.mark.alone,
    pytest.mark.timeout(300),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here"),
]
TEXT = "document.body.innerText"


@pytest.fixture(scope="module")
def new_tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Tab]]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def address(gate: Gate) -> str:
    def said() -> re.Match[str] | None:
        return re.search(r"live: (http://127\.0\.0\.1:\d+/\?token=\S+)", gate.said())

    return str(gate.until(said, "an address").group(1))


def press(tab: Tab, button: str) -> None:
    """Once to ask, once to mean it."""
    tab.run(f"document.getElementById('{button}').click()")
    assert "Click again" in tab.run(f"document.getElementById('{button}').textContent")
    tab.run(f"document.getElementById('{button}').click()")


def test_two_look_one_takes_the_fault_back_and_stops_and_both_get_the_report(
    suite: Suite, gates: list[Gate], new_tab: Callable[[], Tab]
) -> None:
    suite.write_gate(fault=FAULT.replace("hold_s: 12", "hold_s: 50").replace("2s", "60s"))
    gates.append(gate := suite.start("--live"))
    at, (first, second) = address(gate), (new_tab(), new_tab())
    for tab in (first, second):
        tab.open(at)
    gate.until_event("fault.observed")
    for tab in (first, second):
        tab.until(lambda t=tab: "eu-west" in t.run(f"{TEXT}.split('Users')[0]"))
        shown = tab.run(TEXT)
        assert "crash" in shown
        assert "london" in shown
        tab.until(lambda t=tab: "availability" in t.run(TEXT), 60)  # judged after a phase
    press(first, "withdraw")
    gate.until_event("chaos.withdrawn", by="the live page")
    gate.until_event("fault.cleared")
    gate.until_event("phase.begin", phase="recovery[region-loss]")
    second.until(lambda: "Nothing is broken by us" in second.run(TEXT))
    press(second, "stop")
    assert gate.end() == 5, gate.said()
    assert gate.left_running() == []
    assert open_entries(gate.folder) == []
    for tab in (first, second):
        tab.until(lambda t=tab: "ABORTED" in t.run("document.title"))
        assert tab.run("document.documentElement.dataset.ready") == "yes"
        assert "What users saw around each fault" in tab.run(TEXT)
        assert tab.said == []
        own = at.partition("?")[0]
        assert all(one.startswith(own) for one in tab.asked), tab.asked


def test_the_page_survives_a_gate_that_is_killed(
    suite: Suite, gates: list[Gate], new_tab: Callable[[], Tab]
) -> None:
    suite.write_gate(fault="", steady="60s")
    gates.append(gate := suite.start("--live"))
    tab = new_tab()
    tab.open(address(gate))
    tab.until(lambda: "london" in tab.run(TEXT), 60)
    gate.note_descendants()
    gate.process.kill()
    gate.process.wait()
    tab.until(lambda: "The connection to the run is gone" in tab.run(TEXT))
    assert "london" in tab.run(TEXT)
    assert gate.left_running() == []
