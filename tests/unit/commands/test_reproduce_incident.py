"""`stormgate reproduce incident.yaml` before anything starts: what is refused and what is written;
nobody is contacted.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from stormgate.commands.reproduce.command import command
from stormgate.documents import load_target
from stormgate.reproduce.export import export
from stormgate.reproduce.play.lanes import MoveTold
from stormgate.reproduce.play.player import Played
from stormgate.reproduce.play.resolve import resolve, worst_moment
from stormgate.reproduce.schedule import Segment, schedule_of

TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: shop}
spec:
  regions: [{name: eu, latitude: 50, longitude: 8}]
  populations:
    - {name: all, share: 100%, latitude: 50, longitude: 8, edges: [web], links: {web: "http://127.0.0.1:1"}}
  components:
    - {name: web, kind: service, backend: process, handle: {docker: web}}
    - name: cache
      kind: cache
      backend: process
      handle: {docker: cache}
      observe: {protocol: http, address: "127.0.0.1:2", path: /}
  toxiproxy: http://127.0.0.1:3
  links:
    - {from: web, to: cache, upstream: "127.0.0.1:2", listen: "127.0.0.1:4"}
"""
INCIDENT = """\
apiVersion: stormgate.dev/v1
kind: Incident
metadata: {name: slow}
spec:
  target: shop.yaml
  seen:
    - {link: web->cache, from: 0s, for: 1s, latency: 40ms}
    - {link: web->cache, from: 1s, for: 1s, latency: 120ms, loss: 1%}
    - {component: cache, from: 60s, for: 2s, crash: true}
"""
LINK = "link:web->cache"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    Path("shop.yaml").write_text(TARGET)

    def run(*words: str, change: tuple[str, str] = ("", "")):
        Path("i.yaml").write_text(INCIDENT.replace(*change, 1))
        return CliRunner().invoke(command, ["i.yaml", *words], standalone_mode=False)

    return run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("web->cache", "web->db"), "i.yaml:7: target 'shop' has no component 'link:web->db'"),
        (("latency: 40ms", "bandwidth: 0 KB/s"), "i.yaml:7: spec.seen[0].bandwidth: '0 KB/s'"),
        (("from: 1s", "from: 500ms"), "i.yaml:8: slow on link:web->cache from 0.5 to 1.5 s"),
        (("latency: 40ms", "freeze: true"), "i.yaml:7: link:web->cache: a link cannot freeze"),
        (("component: cache", "component: web"), "i.yaml:9: "),
        (("shop.yaml", "none.yaml"), "there is no such target document"),
        (("latency: 40ms", "latency: 2h"), "i.yaml:7: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_nothing_is_made(run, change, said):
    if "component: web" in change[1]:
        change = (change[0], "component: wbe")
    done = run(change=change)
    assert said in str(done.exception), done.exception
    assert not Path("reports").exists()


def test_a_part_that_two_places_come_to_at_once_is_refused():
    Path("shop.yaml").write_text(TARGET)
    target = load_target(Path("shop.yaml"))
    segments = [
        Segment(start_s=0, length_s=5, where=LINK, mode="slow", params={"latency_ms": 5}),
        Segment(start_s=4, length_s=5, where="cache", mode="slow", params={"latency_ms": 5}),
    ]
    with pytest.raises(ValueError, match="one part breaks in one way once at a time"):
        resolve(schedule_of(segments), target)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_quiet_is_compressed_and_faults_are_not(run):
    done = run("--export", "json", "--out", "s.json", "--speed", "10")
    assert done.exception is None
    schedule = json.loads(Path("s.json").read_text())
    times = [(one["start_s"], one["length_s"]) for one in schedule["segments"]]
    assert times == [(0, 1), (1, 1), (7.8, 2)]
    assert schedule["gaps"][0]["what"] == "loss of 1 % on link:web->cache"


def test_toxiproxy_cli_changes_in_place_and_says_what_it_lacks(run):
    done = run("--export", "toxiproxy-cli")
    lines = done.output.splitlines()
    assert [line for line in lines if line.startswith("at ")] == ["at 0", "at 1", "at 2", "at 62"]
    verbs = [line.split()[4] for line in lines if line.startswith("toxiproxy-cli")]
    assert verbs == ["add", "add", "update", "update", "remove", "remove"]
    assert any("Not in it: crash cache from 60 to 62 s: Toxiproxy breaks links" in o for o in lines)
    assert any("Not in it: loss of 1 %" in one for one in lines)


def test_chaos_toolkit_gets_every_fault(run):
    done = run("--export", "chaostoolkit")
    assert done.output.count("func: break_component") == 3
    assert done.output.count("func: undo") >= 2
    assert "loss of 1 %" in done.output


def test_what_only_runs_cannot_be_said_to_toxiproxy_cli():
    Path("shop.yaml").write_text(TARGET)
    schedule = schedule_of([Segment(start_s=0, length_s=1, where="cache", mode="crash")])
    lanes = resolve(schedule, load_target(Path("shop.yaml")))
    with pytest.raises(ValueError, match="nothing of it happens on a link"):
        export(schedule, lanes, "toxiproxy-cli", title="x")


def test_incident_options_are_no_options_of_a_run(run, tmp_path):
    (tmp_path / "folder").mkdir()
    done = CliRunner().invoke(command, ["folder", "--loop"], standalone_mode=False)
    assert "are for incidents" in str(done.exception)


@pytest.mark.parametrize(
    ("segments", "second"),
    [
        ([(0, 9, "slow", {"latency_ms": 50}), (3, 2, "lossy", {"share": 0.2})], 3),
        ([(0, 5, "slow", {"latency_ms": 50}), (5, 5, "slow", {"latency_ms": 500})], 5),
        ([(0, 5, "refuse", {}), (6, 5, "slow", {"latency_ms": 500})], 0),
        ([(0, 1, "lossy", {"share": 0.1}), (1, 1, "blackhole", {})], 1),
    ],
)
def test_the_worst_moment_is_when_most_is_gone(segments, second):
    Path("shop.yaml").write_text(TARGET)
    found = [
        Segment(start_s=s, length_s=n, where=LINK, mode=m, params=p) for s, n, m, p in segments
    ]
    assert worst_moment(resolve(schedule_of(found), load_target(Path("shop.yaml")))) == second


def move(late_ms: float, problem: str = "") -> MoveTold:
    return MoveTold(0.0, late_ms, LINK, "slow", None, "", problem)


@pytest.mark.parametrize(
    ("moves", "unseen", "said"),
    [
        ([move(3), move(50)], (), []),
        ([move(3), move(51)], (), ["1 of 2 changes were over 50 ms late, slow link"]),
        ([move(3, "no answer")], (), ["slow link:web->cache at 0 s: no answer"]),
        ([move(3)], ("never seen",), ["never seen"]),
        ([], (), ["nothing was changed"]),
    ],
)
def test_what_was_late_failed_or_unseen_was_not_played_as_written(moves, unseen, said):
    played = Played(rounds=1, moves=tuple(moves), seen=0, unseen=unseen, kept=())
    assert len(played.problems) == len(said)
    assert all(one in found for one, found in zip(said, played.problems, strict=True))
