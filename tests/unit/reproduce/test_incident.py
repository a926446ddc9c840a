"""Incident documents: what they become, and each way to be wrong with its file, line and fix."""

import json
import textwrap
from pathlib import Path

import pytest

from stormgate.documents import DocumentErrors
from stormgate.documents.incident.shape import kb_per_s, second_of
from stormgate.reproduce.incident.read import read_incident

HEAD = """\
apiVersion: stormgate.dev/v1
kind: Incident
metadata: {name: eu-slow}
spec:
"""
LINK = "link:eu/web->eu/cache"


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(spec: str):
        Path("i.yaml").write_text(HEAD + textwrap.indent(textwrap.dedent(spec), "  "))
        return read_incident(Path("i.yaml"))

    return read


@pytest.fixture
def wrong(read):
    def wrong(spec: str) -> list[str]:
        with pytest.raises(DocumentErrors) as caught:
            read(spec)
        return [str(one) for one in caught.value.problems]

    return wrong


def told(incident) -> list[tuple]:
    return [
        (s.start_s, s.end_s, s.where, s.mode, dict(s.params)) for s in incident.schedule.segments
    ]


def test_what_was_seen_becomes_a_schedule(read):
    found = read("""\
        begins: "2026-03-01T14:05:00Z"
        lasts: 2m
        target: shop.yaml
        seen:
          - {name: EU slow, link: eu/web->eu/cache, from: "14:05:10", for: 40s, latency: 250ms, jitter: 20ms}
          - {component: eu/cache, from: "2026-03-01T14:05:20Z", to: 30s, crash: true}
          - {link: "link:us/web->eu/cache", from: 5s, resets: 20%, resetsAfter: 100ms}
          - {link: us/web->us/db, from: 1m, to: 90s, bandwidth: 64 KB/s, blackhole: true}
        """)  # noqa: E501
    assert told(found) == [
        (5, 120, "link:us/web->eu/cache", "lossy", {"share": 0.2, "after_ms": 100}),
        (10, 50, LINK, "slow", {"latency_ms": 250, "jitter_ms": 20}),
        (20, 30, "eu/cache", "crash", {}),
        (60, 90, "link:us/web->us/db", "bandwidth", {"rate_kb_per_s": 64}),
        (60, 90, "link:us/web->us/db", "blackhole", {}),
    ]
    assert found.target == Path("shop.yaml")
    assert found.schedule.segments[1].source == "i.yaml:9"
    assert found.schedule.gaps == ()


def test_what_flaps_is_down_and_up_until_its_end(read):
    found = read("""\
        seen:
          - {component: eu/cache, from: 0s, to: 10s, flapping: {down: 2s, up: 3s}, crash: true}
          - {link: a->b, from: 1s, for: 5s, flapping: {down: 2s, up: 2s}, latency: 1s}
          - {link: c->d, from: 0s, for: 1s, flapping: {down: 2s, up: 2s}}
        """)
    assert [(s, e, w, m) for s, e, w, m, _ in told(found)] == [
        (0, 2, "eu/cache", "crash"),
        (0, 1, "link:c->d", "refuse"),
        (1, 3, "link:a->b", "slow"),
        (5, 7, "eu/cache", "crash"),
        (5, 6, "link:a->b", "slow"),
    ]
    assert len(found.schedule.faults) == 3


def test_what_cannot_be_played_is_listed_and_never_dropped(read):
    found = read("""\
        seen:
          - {link: a->b, from: 0s, for: 9s, loss: 2%, reordering: 1%, latency: 10ms}
          - {component: c, from: 0s, for: 9s, clockSkew: 40s}
        """)
    assert [(g.what, g.source) for g in found.schedule.gaps] == [
        ("loss of 2 % on link:a->b", "i.yaml:6"),
        ("reordering of 1 % on link:a->b", "i.yaml:6"),
        ("clockSkew of 40s on c", "i.yaml:7"),
    ]
    assert len(told(found)) == 1


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ("{link: a->b, from: 0s, for: 9s}", "i.yaml:6: nothing was seen there; say what"),
        ("{from: 0s, for: 9s, latency: 1s}", "it names neither a component nor a link"),
        ("{link: a->b, component: c, from: 0s, for: 9s, latency: 1s}", "it names both of them"),
        ("{link: a->b, for: 9s, latency: 1s}", "nobody knows when it began"),
        ("{link: a->b, from: 9s, latency: 1s}", "nobody knows how long it lasted"),
        ("{link: a->b, from: 9s, to: 5s, latency: 1s}", "it ends at 5 s, and begins at 9 s"),
        ("{link: a->b, from: 9s, to: 15s, for: 1s, latency: 1s}", "both an end and a length"),
        ('{link: a->b, from: "14:05", for: 1s, latency: 1s}', "no time from the beginning; add"),
        ("{link: a->b, from: noon, for: 1s, latency: 1s}", "'noon' is not a time"),
        ("{link: a->b, from: 0s, for: 1s, latency: 250}", "250 is not a duration"),
        ("{link: a->b, from: 0s, for: 1s, latnecy: 1s}", "did you mean 'latency'?"),
        ("{link: a->b, from: 0s, for: 1s, jitter: 1s, latency: 1s}", "jitter without a latency"),
        ("{link: a->b, from: 0s, for: 1s, resetsAfter: 1s, crash: true}", "resetsAfter without"),
        ("{link: a->b, from: 0s, for: 1s, bandwidth: 64}", "64 is not a bandwidth"),
        ("{link: a->b, from: 0s, for: 1s, resets: 120%}", "is not a share of one"),
        ("{journal: j.json, latency: 1s}", "put that into an entry of its own"),
        ("{journal: j.json}", "j.json:1: cannot be read"),
    ],
)
def test_each_mistake_says_where_and_what_to_do(wrong, seen, said):
    found = wrong(f"seen:\n  - {seen}\n")
    assert any(said in one for one in found), found
    assert all(": " in one and "; " in one for one in found)


def test_the_same_place_twice_at_once_is_told_with_both_lines(wrong):
    found = wrong("""\
        lasts: 20s
        seen:
          - {link: a->b, from: 0s, for: 9s, latency: 10ms}
          - {link: a->b, from: 8s, for: 9s, latency: 20ms}
          - {link: a->b, from: 18s, for: 9s, latency: 20ms}
        """)
    assert "i.yaml:8: slow on link:a->b from 8 to 17 s overlaps" in found[0]
    assert "(i.yaml:7)" in found[0]
    assert "i.yaml:9" in found[1]
    assert "all is over at 20 s" in found[1]


def test_another_kind_is_no_incident(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text("apiVersion: stormgate.dev/v1\nkind: Target\nmetadata: {name: x}\n")
    with pytest.raises(DocumentErrors, match="'Target' is no incident; write kind: Incident"):
        read_incident(Path("t.yaml"))


def test_a_series_becomes_steps_over_its_baseline(read):
    Path("rtt.csv").write_text("time,rtt_ms\n0,12\n5,13\n10,212\n15,214\n20,12\n25,412\n30,12\n")
    found = read("""\
        seen:
          - name: EU
            link: a->b
            series: {csv: rtt.csv, baseline: 12}
        """)
    assert told(found) == [
        (10, 20, "link:a->b", "slow", {"latency_ms": 201}),
        (25, 30, "link:a->b", "slow", {"latency_ms": 400}),
    ]
    assert found.schedule.faults == ("EU 1", "EU 2")
    assert [s.source for s in found.schedule.segments] == ["rtt.csv:4", "rtt.csv:7"]
    assert "7 samples in 5 steps, none off by more than 1 ms" in found.fits[0]
    assert "spread" in found.schedule.gaps[0].why


def test_a_part_of_a_series_in_instants(read):
    times = [f"2026-03-01T14:0{n}:00Z,0.{n}" for n in range(9)]
    Path("r.csv").write_text("time,resets_share\n" + "\n".join(times) + "\n")
    found = read("""\
        begins: "2026-03-01T14:02:00Z"
        seen:
          - {link: a->b, from: 1m, to: 150s, series: {of: resets, csv: r.csv}}
        """)
    assert told(found) == [
        (60, 120, "link:a->b", "lossy", {"share": 0.3}),
        (120, 150, "link:a->b", "lossy", {"share": 0.4}),
    ]


GAPPY = "t,ms\n0,50\n1,50\n2,\n3,\n4,90\n5,90\n"


def test_a_series_with_gaps_is_refused_and_says_what_can_be_played(wrong):
    Path("g.csv").write_text(GAPPY)
    found = wrong("""\
        seen:
          - {link: a->b, series: {csv: g.csv, unit: ms}}
        """)
    assert found == [
        "i.yaml:6: g.csv:4: nothing is known from 2 to 4 s; what can be played: 0 to 2 s, 4 to 6 s;"
        " gaps: quiet leaves that unbroken, gaps: hold keeps the value before it"
    ]


@pytest.mark.parametrize(
    ("how", "times"), [("quiet", [(0, 2), (4, 6)]), ("hold", [(0, 4), (4, 6)])]
)
def test_a_gap_that_was_said_stands_in_the_list(read, how, times):
    Path("g.csv").write_text(GAPPY)
    found = read(f"""\
        seen:
          - {{link: a->b, series: {{csv: g.csv, unit: ms, gaps: {how}}}}}
        """)
    assert [(s, e) for s, e, *_ in told(found)] == times
    assert "nothing is known from 2 to 4 s" in found.schedule.gaps[0].what
    assert found.schedule.gaps[0].source == "g.csv:4"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("series: {csv: s.csv}", "nobody knows the unit of 'v'; add unit: one of ms, s, us"),
        ("series: {csv: s.csv, unit: hours}", "'hours' is no unit of latency"),
        ("series: {}", "a series from nowhere"),
        ("series: {csv: none.csv}", "none.csv:1: cannot be read"),
        ("from: 50s, series: {csv: s.csv, unit: ms}", "it says nothing of 50 to"),
        ("from: 0s, to: 60s, series: {csv: s.csv, unit: ms}", "it ends 58 s before"),
        ("series: {csv: abs.csv, unit: ms}", 'add begins: "2026-03-01T14:05:00Z"'),
        ("series: {prometheus: {url: 'http://127.0.0.1:1', query: q}}", "which time to ask for"),
    ],
)
def test_a_series_that_is_wrong_says_why(wrong, more, said):
    Path("s.csv").write_text("t,v\n0,1\n1,2\n")
    Path("abs.csv").write_text("t,v\n1772373900,1\n1772373901,2\n")
    found = wrong(f"seen:\n  - {{link: a->b, {more}}}\n")
    assert any(said in one for one in found), found


def test_a_prometheus_that_is_not_there_is_told_and_a_stranger_is_never_asked(wrong):
    for url, said in (("http://127.0.0.1:1", "refused"), ("http://192.0.2.1", "allow list")):
        found = wrong(f"""\
            begins: "2026-03-01T14:05:00Z"
            seen:
              - {{link: a->b, from: 0s, to: 9s, series: {{prometheus: {{url: "{url}", query: q}}}}}}
            """)
        assert said in found[0]
        assert found[0].startswith("i.yaml:7: ")


def activity(second, func, done="succeeded", module="stormgate.chaos.actions", **arguments):
    provider = {"type": "python", "module": module, "func": func, "arguments": arguments}
    return {
        "activity": {"type": "action", "name": func, "provider": provider},
        "start": f"2026-03-01T14:05:{second:02}.000000",
        "end": f"2026-03-01T14:05:{second:02}.500000",
        "status": done,
    }


def test_a_journal_says_what_stood_when(read):
    runs = [
        activity(0, "slow", component=LINK, latency_ms=300, proof_s=5),
        activity(5, "kill", component="eu/cache"),
        activity(9, "undo", component="eu/cache"),
        activity(10, "freeze", done="failed", component="eu/db"),
        activity(11, "terminate_pods", module="chaosk8s.pod.actions", label="x"),
        activity(20, "hold", seconds=1),
    ]
    Path("j.json").write_text(json.dumps({"run": runs}))
    found = read("seen:\n  - {journal: j.json, from: 1m, name: then}\n")
    assert told(found) == [
        (60.5, 80.5, LINK, "slow", {"latency_ms": 300}),
        (65.5, 69, "eu/cache", "crash", {}),
    ]
    assert [g.what for g in found.schedule.gaps] == ["action 'freeze'", "action 'terminate_pods'"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a journal"),
        ('{"run": []}', "nothing was done"),
        (json.dumps({"run": [activity(1, "hold")]}), "nothing of it can be played"),
        ('{"run": [{"start": "x", "end": "y"}]}', "not a journal"),
    ],
)
def test_a_journal_that_says_nothing_is_refused(wrong, text, said):
    Path("j.json").write_text(text)
    assert said in wrong("seen:\n  - {journal: j.json}\n")[0]


@pytest.mark.parametrize(
    ("text", "begins", "second"),
    [
        ("90s", None, 90),
        ("1m30s", 5.0, 90),
        ("14:05:10", 14 * 3600 + 300.0, 10),
        ("00:10", 23 * 3600 + 3000.0, 1200),
        ("14:04", 14 * 3600 + 300.0, -60),
        ("14:04", None, None),
        ("1970-01-01T00:01:00+00:00", 30.0, 30),
        ("1970-01-01T00:01:00", 30.0, 30),
        ("1970-99-01T00:01:00", 30.0, None),
    ],
)
def test_times_count_from_the_beginning(text, begins, second):
    assert second_of(text, begins) == second


@pytest.mark.parametrize(
    ("text", "rate"), [("64 KB/s", 64), ("1MB/s", 1000), ("512 kbit/s", 64), ("8 Mbit/s", 1000)]
)
def test_bandwidths(text, rate):
    assert kb_per_s(text) == rate
