"""Load and a game day by hand on a system that is nobody's lab, followed and stopped on the live
page; and one that dies under them.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.live.shop_world import ShopWorld

from stormgate.evidence.read import read_ndjson
from stormgate.faults.ledger import open_entries

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[ShopWorld]:
    world = ShopWorld(tmp_path)
    yield world
    world.end()
    assert not world.flag.exists(), "a test left its world broken"


def rows(shop: ShopWorld) -> list[dict[str, object]]:
    return read_ndjson(shop.run_folder() / "timeline.ndjson")[0]


def until(true: Callable[[], object], what: str, within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        time.sleep(0.1)


def said(process: subprocess.Popen[str], pattern: str) -> str:
    """Read what it says up to a line that has this."""
    assert process.stdout is not None
    for line in process.stdout:
        if (found := re.search(pattern, line)) is not None:
            return found.group(1)
    raise AssertionError(f"it ended without {pattern}")


class Page:
    """The live page without a browser: its states, and its buttons."""

    def __init__(self, address: str) -> None:
        self._at = urlsplit(address)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._at.port, timeout=20)

    def press(self, button: str) -> str:
        connection = self._connection()
        headers = {"X-Stormgate": "live"}
        connection.request("POST", f"/{button}?{self._at.query}", headers=headers)
        told = str(json.loads(connection.getresponse().read())["told"])
        connection.close()
        return told

    def until(self, shown: Callable[[dict[str, object]], object]) -> None:
        connection = self._connection()
        connection.request("GET", f"/events?{self._at.query}")
        answer = connection.getresponse()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            line = answer.readline().decode()
            if line.startswith("data: ") and shown(json.loads(line[6:])):
                connection.close()
                return
        raise AssertionError("the page never showed it")


def test_load_is_followed_and_stopped_on_the_page_with_every_fault_taken_back(
    shop: ShopWorld,
) -> None:
    load = shop.start("load", "slas/shop.yaml", "--for", "5m", "--live")
    page = Page(said(load, r"live: (http://\S+)"))
    page.until(lambda state: str(state["phase"]["name"]) == "steady")  # type: ignore[index]
    assert shop.inject("slow", "switch", "--for", "60s").returncode == 0
    page.until(lambda state: state["faults"] and state["phase"]["left_s"])  # type: ignore[index]
    assert page.press("withdraw") == "the faults are being taken back; the run goes on"
    page.until(lambda state: not state["faults"])
    assert shop.inject("slow", "switch", "--for", "60s").returncode == 0
    assert shop.flag.exists()
    page.press("stop")
    load.communicate(timeout=60)
    assert load.returncode == 5
    assert open_entries(shop.run_folder()) == []
    events = [row["event"] for row in rows(shop)]
    assert events.count("fault.cleared") == 2
    assert events[-1] == "run.end"


def test_a_run_of_load_is_judged_by_the_gate_and_never_its_pass(shop: ShopWorld) -> None:
    load = shop.start("load", "slas/shop.yaml", "--for", "25s", "--quiet")
    until((shop.folder / "reports/latest").exists, "a run folder")
    until(lambda: any(row.get("phase") == "steady" for row in rows(shop)), "steady")
    assert shop.inject("slow", "switch", "--for", "2s").returncode == 0
    out, _ = load.communicate(timeout=90)
    assert load.returncode == 3, out
    verdict = json.loads((shop.run_folder() / "verdict.json").read_text())
    assert verdict["verdict"] == "INCONCLUSIVE"
    phases = [row["phase"] for row in rows(shop) if row["event"] == "phase.begin"]
    assert phases == ["warmup", "steady", "fault[hand-1]", "recovery[hand-1]", "final"]
    again = shop.stormgate("judge", str(shop.run_folder()))
    assert again.returncode == 3


def test_a_day_whose_step_asks_itself_is_decided_on_that_step(shop: ShopWorld) -> None:
    day = shop.start("gameday", "run", "gamedays/day.yaml", "--by", "Ana", "--live")
    page = Page(said(day, r"live: (http://\S+)"))
    page.until(lambda state: (state["day"] or {}).get("asks"))  # type: ignore[attr-defined]
    assert page.press("go") == "go: switch"
    page.until(lambda state: state["faults"])
    assert page.press("detected") == "noted: detected"
    out, _ = day.communicate(timeout=90)
    assert day.returncode == 1, out
    assert "switch: did not hold" in out
    report = (shop.run_folder() / "gameday.md").read_text()
    assert "quick: " in report
    assert "patient: " in report
    assert "detected after" in report
    verdict = json.loads((shop.run_folder() / "verdict.json").read_text())
    found = {one["name"]: one["verdict"] for one in verdict["objectives"]}
    assert found == {"switch/quick": "FAIL", "switch/patient": "PASS"}


def test_a_target_that_dies_under_load_is_an_error_with_its_reason_and_nothing_of_ours_stays(
    shop: ShopWorld,
) -> None:
    load = shop.start("load", "slas/shop.yaml", "--for", "10m", "--quiet")
    until((shop.folder / "reports/latest").exists, "a run folder")
    until(lambda: any(row.get("phase") == "steady" for row in rows(shop)), "steady")
    assert shop.inject("slow", "switch", "--for", "4s").returncode == 0
    shop.server.kill()
    # Long before its ten minutes.
    out, _ = load.communicate(timeout=150)
    assert load.returncode == 4, out
    assert "the target is gone: nobody was served for 15 s" in out
    assert open_entries(shop.run_folder()) == []
    assert "fault.undo_failed" not in [row["event"] for row in rows(shop)]
