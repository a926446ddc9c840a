"""Schedules on real proxies: what an independent client measures, on time and in place; a server
that is restarted; and that nothing is left.
"""

import signal
import socket
import statistics
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from tests.live.chaos_fixture import wait_until
from tests.live.reproduce_world import LINK, Way

from stormgate.documents import load_target
from stormgate.faults.context import make_context
from stormgate.faults.hands.halt import halt, resume
from stormgate.faults.ledger import open_entries
from stormgate.model import Event
from stormgate.reproduce.play.player import Player
from stormgate.reproduce.play.resolve import resolve
from stormgate.reproduce.schedule import Segment, schedule_of

pytestmark = pytest.mark.live


@pytest.fixture(scope="module", params=["real", "embedded"])
def way(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("way")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "xdg"))
        found = Way(request.param, folder)
        yield found
        found.close()


def player_of(way: Way, run: Path, *segments: Segment) -> Player:
    run.mkdir()
    target = load_target(way.path)
    context = make_context(target, run, fault="incident", seed=0)
    schedule = schedule_of(segments)
    player = Player(context, schedule, resolve(schedule, target), lambda _: None)
    player.prepare()
    return player


def seg(start_s: float, length_s: float, mode: str = "slow", **params) -> Segment:
    return Segment(start_s=start_s, length_s=length_s, where=LINK, mode=mode, params=params)


class Measuring:
    """A client that knows nothing of the player: round trips (when, ms) until it is told to end."""

    def __init__(self, port: int) -> None:
        self.port, self.found = port, list[tuple[float, float]]()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._measure) for _ in range(3)]
        for thread in self.threads:
            thread.start()

    def _measure(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self.over.is_set():
                begun = time.monotonic()
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                got = b""
                while not got.endswith(b"ok"):
                    got += sock.recv(4096)
                self.found.append((begun, (time.monotonic() - begun) * 1000))
                time.sleep(0.005)

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def usual_ms(self, from_s: float, to_s: float) -> float:
        """The lowest tenth: a busy machine only ever adds."""
        found = [ms for begun, ms in self.found if from_s <= begun and begun + ms / 1000 <= to_s]
        assert len(found) >= 4, "too few to say"
        return statistics.quantiles(found, n=10)[0]


@pytest.mark.alone
def test_a_known_series_is_played_as_an_independent_client_measures_it(way, tmp_path):
    """Within 5 % + 2 ms. A neighbour on the processor only ever adds, so that one of three tries
    shows it; what is wrong in the playing is wrong in all of them.
    """
    values, step_s, offs = [40, 120, 15], 0.8, []
    for number in range(3):
        run = tmp_path / f"run-{number}"
        segments = [seg(n * step_s, step_s, latency_ms=v) for n, v in enumerate(values)]
        player = player_of(way, run, *segments)
        measuring = Measuring(way.listen)
        time.sleep(0.4)
        begun = time.monotonic()
        played = player.play()
        measuring.end()
        assert time.monotonic() - begun >= player.schedule.length_s
        assert len(played.moves) == len(values) + 1, "changed in place, taken away once"
        assert (played.not_undone, way.toxics) == ("", {})
        assert open_entries(run) == []
        timeline = (run / "timeline.ndjson").read_text()
        assert timeline.count(Event.FAULT_OBSERVED) == bool(played.seen)
        assert timeline.count(Event.FAULT_CLEARED) == 1
        usual_ms = measuring.usual_ms(begun - 0.4, begun)
        # Each change is where the player says; between two the client has to see the value.
        starts = [begun + 0.05 + m.at_s + m.late_ms / 1000 for m in played.moves]
        added = [
            measuring.usual_ms(start + 0.05, end - 0.05) - usual_ms
            for start, end in pairwise(starts)
        ]
        offs.append(added)
        if added == [pytest.approx(value, rel=0.05, abs=2) for value in values]:
            return
    pytest.fail(f"measured {offs}, not {values}")


def test_toxics_are_changed_in_place_and_all_modes_are_played(way, tmp_path):
    if way.kind == "real":
        pytest.skip("the series above is changed in place on the real one as well")
    player = player_of(
        way,
        tmp_path / "run",
        seg(0, 0.6, latency_ms=40),
        seg(0.6, 0.6, latency_ms=90),
        seg(0.2, 0.8, "lossy", share=0.5),
        seg(1.3, 0.5, "blackhole"),
        seg(1.9, 0.5, "refuse"),
    )
    names = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            names.update(name for name in way.toxics if "latency" in way.toxics.get(name, {}))

    thread = threading.Thread(target=watch)
    thread.start()
    played = player.play()
    stop.set()
    thread.join()
    assert len(names) == 2, "one name each way from the first to the last step"
    moves = sorted((m for m in played.moves if not m.problem), key=lambda m: m.at_s)
    assert [(m.mode, m.params is None) for m in moves] == [
        ("slow", False),
        ("lossy", False),
        ("slow", False),
        ("lossy", True),
        ("slow", True),
        ("blackhole", False),
        ("blackhole", True),
        ("refuse", False),
        ("refuse", True),
    ]
    # A busy machine may be too slow to see all of it; then it says so.
    assert all("too short" in one for one in played.unseen if "lossy" not in one), played.unseen
    assert (played.not_undone, way.toxics, way.client.get("cache").enabled) == ("", {}, True)


def test_a_restart_of_toxiproxy_is_survived(way, tmp_path):
    player = player_of(way, tmp_path / "run", seg(0, 120, latency_ms=50))
    thread = threading.Thread(target=player.play)
    thread.start()
    wait_until(lambda: way.toxics)
    before = way.toxics
    way.server.process.send_signal(signal.SIGKILL)
    way.server.process.wait()
    way.server = way.start()
    wait_until(lambda: "cache" in way.client.proxies() and way.toxics == before)
    player.context.stopping.set()
    thread.join()
    assert any("made proxy 'cache' again" in one for one in player.kept), player.kept
    assert way.client.get("cache").listen == f"127.0.0.1:{way.listen}"
    assert way.toxics == {}
    assert open_entries(tmp_path / "run") == []


def test_an_order_to_halt_ends_it_and_nothing_is_put_back(way, tmp_path):
    player = player_of(way, tmp_path / "run", seg(0, 60, latency_ms=50))
    found = []
    thread = threading.Thread(target=lambda: found.append(player.play()))
    thread.start()
    wait_until(lambda: way.toxics)
    halt("somebody", "enough")
    try:
        thread.join(20)
        assert found, "still playing"
        assert (found[0].stopped, found[0].not_undone, way.toxics) == (True, "", {})
        assert "halted by somebody" in player.kept[-1]
    finally:
        resume("somebody", "over")
