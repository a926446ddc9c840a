"""The live page's server and what it says of a run: who may look, who may act, and figures that are
those of the evidence.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.golden.report_cases import plan, write_run

from stormgate.supervise.live.server import LiveServer
from stormgate.supervise.live.view import LiveView

S = 1_000_000_000


class Watched:
    """A state that grows, and buttons that count."""

    def __init__(self) -> None:
        self.pressed: list[str] = []
        self.seconds = 3

    def state(self, since_s: int) -> dict[str, Any] | None:
        total = list(range(self.seconds))
        return {"run": 1, "since_s": since_s, "total": total[since_s:], "good": total[since_s:]}

    def press(self, name: str) -> str:
        self.pressed.append(name)
        return f"did {name}"


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def server(watched: Watched) -> Iterator[LiveServer]:
    server = LiveServer(0, watched.state, {"stop": lambda: watched.press("stop")})
    server.start()
    yield server
    server.finish(None)


def ask(
    server: LiveServer, path: str, method: str = "GET", token: str | None = None, **headers: str
) -> tuple[int, str, http.client.HTTPMessage]:
    at = urlsplit(server.address)
    query = at.query if token is None else f"token={token}"
    connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=10)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"{path}?{query}", headers=given)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers


def test_who_has_the_address_may_look_and_nobody_else(server: LiveServer) -> None:
    status, text, headers = ask(server, "/")
    assert status == 200
    assert "EventSource" in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    for token in ("", "x", "x" * 5000, "%00", "é"):
        assert ask(server, "/", token=token.replace("é", "%C3%A9"))[0] == 403
    for path in ("/events", "/report", "/stop", "/"):
        assert ask(server, path, token="wrong")[0] == 403
    assert ask(server, "/", Host="evil.example")[0] == 421
    assert ask(server, "/etc/passwd")[0] == 404
    assert ask(server, "/report")[0] == 404  # there is none yet


def test_a_button_needs_more_than_the_address(server: LiveServer, watched: Watched) -> None:
    assert ask(server, "/stop")[0] == 405
    assert ask(server, "/stop", "POST")[0] == 405
    assert ask(server, "/stop", "POST", token="wrong", X_Stormgate="live")[0] == 403
    assert watched.pressed == []
    status, text, _ = ask(server, "/stop", "POST", X_Stormgate="live")
    assert (status, json.loads(text)) == (200, {"told": "did stop"})
    assert watched.pressed == ["stop"]


class Events:
    """A viewer of the stream."""

    def __init__(self, server: LiveServer) -> None:
        at = urlsplit(server.address)
        self.connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=10)
        self.connection.request("GET", f"/events?{at.query}")
        self.answer = self.connection.getresponse()

    def next(self) -> tuple[str, dict[str, Any]]:
        lines = [self.answer.readline().decode().strip() for _ in range(3)]
        return lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


def test_before_the_run_has_begun_a_viewer_waits() -> None:
    begun: list[dict[str, Any]] = []
    server = LiveServer(0, lambda _: begun[0] if begun else None, {})
    server.start()
    viewer = Events(server)
    begun.append({"run": 1, "since_s": 0, "total": [5], "good": [5]})
    assert viewer.next()[1]["total"] == [5]
    server.finish(None)


def test_every_viewer_gets_the_whole_series_and_then_what_came(
    server: LiveServer, watched: Watched
) -> None:
    first = Events(server)
    shown: list[int] = []
    event, state = first.next()
    while not state.get("total"):
        event, state = first.next()
    assert (event, state["since_s"], state["total"]) == ("state", 0, [0, 1, 2])
    shown = state["total"]
    watched.seconds = 40
    while len(shown) < 40:
        _, state = first.next()
        shown = shown[: state["since_s"]] + state["total"]
    assert shown == list(range(40))
    watched.seconds = 41
    _, state = first.next()
    while state["since_s"] + len(state["total"]) < 41:
        _, state = first.next()
    assert state["since_s"] == 30  # what was seen is not sent again, but for what may have grown
    late = Events(server)
    _, state = late.next()
    assert (state["since_s"], len(state["total"])) == (0, 41)


def test_the_end_gives_the_report_to_who_looks_and_waits_for_nobody(
    server: LiveServer, watched: Watched
) -> None:
    viewer = Events(server)
    viewer.next()
    import threading

    ending = threading.Thread(target=server.finish, args=("<p>report</p>",))
    ending.start()
    event, _ = viewer.next()
    while event != "done":
        event, _ = viewer.next()
    assert ask(server, "/report")[:2] == (200, "<p>report</p>")
    ending.join(10)
    assert not ending.is_alive()
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/")


def test_an_end_with_somebody_still_looking_is_quiet(
    server: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    viewer = Events(server)
    viewer.next()
    # One that has said nothing yet is the one that asyncio would make a noise about.
    with socket.create_connection(("127.0.0.1", urlsplit(server.address).port or 0)):
        viewer.next()
        server.finish(None)
    assert caplog.records == []


def test_the_view_says_what_the_evidence_says(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    view = LiveView(folder, plan())
    view.poll()
    now = 1_000 * S + 40 * S  # two seconds into the outage, as its own clock has it
    shown = view.snapshot(now)
    assert shown["elapsed_s"] == 40
    assert len(shown["total"]) == 39
    assert sum(shown["total"][10:30]) == pytest.approx(400 * 20, rel=0.02)
    assert shown["good"][10:30] == shown["total"][10:30]
    assert shown["good"][38] < shown["total"][38]
    names = [one["name"] for one in shown["populations"]]
    assert names == ["frankfurt", "london", "new-york", "san-francisco", "sao-paulo", "singapore"]
    london = next(one for one in shown["populations"] if one["name"] == "london")
    assert 0 < london["good"] < 1
    assert shown["generator"]["cpu"] == 0.4
    assert view.ended[:2] == ("warmup", "steady")
    assert shown["faults"] == []  # cleared by the end of this timeline
    assert view.snapshot(now, 35)["total"] == shown["total"][35:]
    json.dumps(shown, allow_nan=False)
    view.close()


def test_a_fault_that_stands_is_told_with_its_proof_and_age(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", seconds=42)
    rows = (folder / "timeline.ndjson").read_text().splitlines()
    standing = [row for row in rows if "fault.cleared" not in row]
    (folder / "timeline.ndjson").write_text("\n".join(standing) + "\n")
    view = LiveView(folder, plan())
    view.poll()
    (fault,) = view.snapshot(1_000 * S + 41 * S)["faults"]
    assert (fault["component"], fault["mode"]) == ("eu-west", "crash")
    assert fault["proof"] == "/healthz refused"
    assert fault["age_s"] == pytest.approx(2.9)
    view.close()


def test_an_empty_folder_says_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    view = LiveView(tmp_path, plan())
    view.poll()
    shown = view.snapshot(5 * S)
    assert (shown["total"], shown["populations"], shown["faults"]) == ([], [], [])
    view.close()
