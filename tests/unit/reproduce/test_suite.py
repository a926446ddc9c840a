"""A recorded run as files: what `stormgate gate` reads of them is what was recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stormgate.commands.documents import lay_out
from stormgate.documents import load_gate, load_target
from stormgate.model import Plan, Target
from stormgate.reproduce.mapping import parse_map, unmapped
from stormgate.reproduce.native import experiment
from stormgate.reproduce.recorded import Recorded, Trial
from stormgate.reproduce.schedule import Segment, schedule_of
from stormgate.reproduce.suite import GATE, SuitePlace, texts, yaml_text

ROOT = Path(__file__).resolve().parents[3]
VALKEY = "link:eu-west/service->eu-west/cache"


def seg(where: str, mode: str, start_s: float, length_s: float, **params: Any) -> Segment:
    name = f"{mode} {where}"
    return Segment(
        where=where, mode=mode, start_s=start_s, length_s=length_s, params=params, fault=name
    )


def trial(*segments: Segment, name: str = "it") -> Trial:
    made = schedule_of(segments, known={one.mode for one in segments})
    return Trial(name=name, schedule=made, recovery_s=7.0)


def test_what_overlaps_is_begun_and_ended_in_order() -> None:
    one = trial(
        seg("eu/web", "slow", 0, 10, latency_ms=100),
        seg("eu/cache", "crash", 2, 3),
        seg("eu/cache", "crash", 7, 2),
        seg("load", "surge", 2, 4, factor=2.0),
    )
    steps = [
        (step["provider"]["func"], step["provider"].get("arguments", {}))
        for step in experiment("t", "d", one.schedule)["method"]
    ]
    assert steps == [
        ("break_component", {"component": "eu/web", "mode": "slow", "latency_ms": 100}),
        ("hold", {"seconds": 1.2}),
        ("break_component", {"component": "eu/cache", "mode": "crash"}),
        ("load_surge", {"factor": 2.0, "for_s": 4}),
        ("hold", {"seconds": 3}),
        ("undo", {"component": "eu/cache"}),
        ("hold", {"seconds": 1}),
        ("hold", {"seconds": 0.2}),
        ("break_component", {"component": "eu/cache", "mode": "crash"}),
        ("hold", {"seconds": 2}),
        ("undo", {"component": "eu/cache"}),
        ("hold", {"seconds": 1}),
    ]


def test_a_partition_is_cut_at_once() -> None:
    cut = [
        replace(seg(name, "blackhole", 0, 4), fault="blackhole partition")
        for name in ("link:b->a", "link:a->b")
    ]
    method = experiment("t", "d", trial(*cut).schedule)["method"]
    assert method[0]["provider"]["arguments"]["component"] == ["link:a->b", "link:b->a"]
    assert len(method) == 2


def test_the_projects_own_gate_is_the_same_when_it_is_written_and_read(tmp_path: Path) -> None:
    for name in ("chenu-release", "chenu-data"):
        plan = load_gate(ROOT / "slas" / f"{name}.yaml")
        trials = [
            replace(trial(seg("eu-west", "crash", 0, 12)), name=one.name) for one in plan.faults
        ]
        place = SuitePlace(
            folder=tmp_path / name,
            locustfile=ROOT / plan.load.locustfile,
            target=ROOT / "targets" / "lab.yaml",
        )
        again = _read(plan, trials, place)
        assert {o.name: dict(o.spec) for o in again.objectives} == {
            o.name: dict(o.spec) for o in plan.objectives
        }
        kept = ("seed", "confidence", "warmup_s", "steady_s", "final_s", "validity", "guard")
        assert {k: getattr(again, k) for k in kept} == {k: getattr(plan, k) for k in kept}
        assert (again.load.rate_per_s, again.load.users) == (plan.load.rate_per_s, plan.load.users)
        assert again.target == plan.target
        assert [(f.name, f.recovery_s) for f in again.faults] == [
            (f.name, 7.0) for f in plan.faults
        ]


def _read(plan: Plan, trials: list[Trial], place: SuitePlace) -> Plan:
    place.folder.mkdir()
    for file, text in texts(plan, trials, place, prefix="again", said="x").items():
        (place.folder / file).write_text(text)
    return load_gate(place.folder / GATE)


@pytest.mark.parametrize(
    "written",
    [
        "kind: availability, target: 99.5%, by: population, claim: unconditional",
        "kind: latency, quantile: 0.999, lte: 1.5s, coverage: 90%, phases: [fault, recovery]",
        "kind: failover, lte: 5s, by: [population], within: 250ms, sustained: 500ms",
        "kind: budgetSpend, target: 0.999, window: 1h, lte: 2%",
        'kind: share, label: cache, values: [hit, old], gte: 95%, where: {status: ["200"]}',
        "kind: ratio, quantile: 0.95, lte: 1.1, versus: steady, phases: fault",
        "kind: failback, settle: 5s, labels: [cache], by: [population, cache]",
        "kind: ackedWrites, keys: users/*",
        "kind: staleness, keys: newest/*, lte: 6s, by: region",
    ],
)
def test_an_objective_of_any_kind_is_the_same_when_it_is_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    lay_out(tmp_path, "shop")
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "targets/shop.yaml"
    target.write_text(target.read_text() + "  observe: {cache: x-cache}\n")
    path = tmp_path / "slas" / "release.yaml"
    path.write_text(
        path.read_text().replace(
            "  objectives:\n    - name: availability",
            f"  objectives:\n    - {{name: it, {written}}}\n    - name: availability",
        )
    )
    plan = load_gate(path)
    (fault,) = plan.faults
    place = SuitePlace(
        folder=tmp_path / "again", locustfile=tmp_path / plan.load.locustfile, target=target
    )
    again = _read(plan, [replace(trial(seg("web", "freeze", 0, 30)), name=fault.name)], place)
    assert again.objectives[0].spec == plan.objectives[0].spec


def test_what_a_target_lacks_is_told_before_anything_starts() -> None:
    lab = load_target(ROOT / "targets" / "lab.yaml")
    one = trial(
        seg(VALKEY, "slow", 0, 1, latency_ms=1),
        seg("eu-west/db-eu", "crash", 0, 1),
        seg("link:population/london->eu-west/edge", "slow", 0, 1, latency_ms=1),
        seg("link:eu-west/service->tokyo/cache", "slow", 0, 1, latency_ms=1),
        seg("tokyo/cache", "crash", 0, 1),
        seg("load", "surge", 0, 1, factor=2, population="tokyo"),
    )
    plan = load_gate(ROOT / "slas" / "chenu-release.yaml")
    run = Recorded(folder=Path("r"), plan=plan, failed=(), trials=(one,))
    lacking = {name: what for name, what, _ in unmapped(run, lab, {})}
    assert set(lacking) == {"link:eu-west/service->tokyo/cache", "tokyo/cache", "load of tokyo"}
    places = parse_map(["tokyo/cache=us-east/cache", "link:eu-west/service->tokyo/cache=" + VALKEY])
    assert [name for name, *_ in unmapped(run, lab, places)] == ["load of tokyo"]
    assert [n for n, *_ in unmapped(run, Target(name="t"), {})] == [*run.places, "load of tokyo"]
    assert "web" in [name for name, *_ in unmapped(run, lab, {"web": "steward"})]


@pytest.mark.parametrize("text", ["web", "=web", "web=", ""])
def test_a_map_is_there_and_here(text: str) -> None:
    with pytest.raises(ValueError, match="THERE=HERE"):
        parse_map([text])


OLD = ["off", "No", "y", "1:30", "012", "0x1f", "~", "1e3", "1_000", "2026-01-01", "=", "", "null"]
TEXTS = st.sampled_from(OLD) | st.text("on0:_-.1e ", max_size=5)


@given(st.lists(TEXTS | st.integers(-99, 99), max_size=4), TEXTS)
def test_what_is_written_is_the_same_to_the_yaml_of_chaos_toolkit(
    listed: list[str | int], key: str
) -> None:
    """PyYAML reads version 1.1, in which a mode called off is false."""
    data = {"it": listed, key: {"mode": key}}
    assert yaml.safe_load(yaml_text(data, "x")) == data


def test_texts_of_several_lines_stand_as_such() -> None:
    assert yaml_text({"a": "one\ntwo", "b": [1]}, "said\nso") == (
        "# said\n# so\na: |-\n  one\n  two\nb:\n  - 1\n"
    )
