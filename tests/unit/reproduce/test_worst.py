"""The worst moment of a run, and the schedule that stops there."""

# ruff: noqa: E501 - tables read row by row

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from tests.golden.judge_writer import objective

from stormgate.commands.reproduce.holding import addresses
from stormgate.model import Component, Objective, Observe, Population, Target
from stormgate.reproduce.recorded import Trial
from stormgate.reproduce.schedule import Segment, schedule_of
from stormgate.reproduce.worst import stopped_at, worst_moment

S = 1_000_000_000


@dataclass
class Evidence:
    rows: list[tuple[float, float, str, str]] = field(default_factory=list)

    @property
    def timeline(self) -> list[dict[str, Any]]:
        return [{"event": "fault.observed", "fault": "f", "at_ns": 100 * S}]

    def batches(self) -> Iterator[tuple[str, Any]]:
        """(second of the run, latency ms, outcome, population) of each request, in two blocks."""
        for part in (self.rows[::2], self.rows[1::2]):
            begun = [round(second * S) for second, *_ in part]
            yield (
                "w",
                pa.record_batch(
                    {
                        "intended_ns": begun,
                        "done_ns": [
                            b + round(r[1] * 1e6) for b, r in zip(begun, part, strict=True)
                        ],
                        "outcome": pa.array([r[2] for r in part]).dictionary_encode(),
                        "population": pa.array([r[3] for r in part]).dictionary_encode(),
                    }
                ),
            )


def seg(where: str, start_s: float, length_s: float) -> Segment:
    return Segment(start_s=start_s, length_s=length_s, where=where, mode="crash", fault=where)


TRIAL = Trial(
    name="f",
    schedule=schedule_of([seg("a", 0, 4), seg("b", 2, 6), seg("c", 7, 3)]),
    recovery_s=1.0,
)


def run(*bad: tuple[float, float, str]) -> Evidence:
    good = [(100 + i / 4, 20.0, "ok", p) for i in range(40) for p in ("london", "lima")]
    return Evidence([*good, *[(100 + s, ms, out, "london") for s, ms, out in bad]])


@pytest.mark.parametrize(
    ("bad", "asked", "second_s"),
    [
        ([(3.2, 5.0, "reset"), (8.1, 900.0, "ok")], {"target": 0.9}, 3.5),
        ([(3.2, 900.0, "ok"), (8.1, 900.0, "ok"), (8.2, 900.0, "ok")], {"target": 0.9, "within_ms": 500.0}, 8.5),
        ([(3.2, 900.0, "ok")], {"target": 0.9, "within_ms": 500.0, "where": {"population": ["lima"]}}, None),
        ([(30.0, 5.0, "reset")], {"target": 0.9}, None),
        ([], {"target": 0.9}, None),
    ],
)  # fmt: skip
def test_the_worst_second_is_that_with_the_largest_share_of_bad(
    bad: list[tuple[float, float, str]], asked: dict[str, Any], second_s: float | None
) -> None:
    chosen: Objective = objective("availability", **asked)
    found = worst_moment(run(*bad), (TRIAL,), chosen)
    assert (None if found is None else found.second_s) == second_s


def test_late_is_what_a_latency_objective_says() -> None:
    chosen = objective("latency", quantile=0.9, lte_ms=100.0)
    found = worst_moment(run((5.1, 101.0, "ok")), (TRIAL,), chosen)
    assert found is not None
    assert (found.trial, found.second_s, found.bad) == ("f", 5.5, pytest.approx(1 / 9))


@pytest.mark.parametrize(
    ("second_s", "standing"),
    [
        (1.0, [("a", 0.0, 51.0)]),
        (3.0, [("a", 0.0, 53.0), ("b", 2.0, 51.0)]),
        (5.0, [("b", 0.0, 53.0)]),
        (7.5, [("b", 0.0, 55.5), ("c", 5.0, 50.5)]),
        (99.0, [("c", 0.0, 142.0)]),
    ],
)
def test_what_stands_then_is_kept_and_nothing_else(
    second_s: float, standing: list[tuple[str, float, float]]
) -> None:
    kept = stopped_at(TRIAL, second_s, 50.0)
    found = [(s.where, s.start_s, s.length_s) for s in kept.schedule.segments]
    assert found == standing
    assert len({round(start + length, 6) for _, start, length in found}) == 1


def test_what_to_connect_to_is_users_ways_and_what_is_broken() -> None:
    def part(name: str, port: int, kind: str = "cache") -> Component:
        look = Observe(protocol="tcp", address=f"127.0.0.1:{port}")
        return Component(name=name, kind=kind, backend="process", observe=look)

    target = Target(
        name="t",
        populations=(
            Population(
                name="london",
                share=1.0,
                latitude=0,
                longitude=0,
                edges=("eu/web",),
                links={"eu/web": "http://127.0.0.1:1"},
            ),
        ),
        components=(part("eu/cache", 2), part("link:a", 3, "link"), part("link:b", 4, "link")),
    )
    assert list(addresses(target, {"eu/cache", "link:b"})) == [
        "  as london: http://127.0.0.1:1 (eu/web)",
        "  eu/cache: tcp 127.0.0.1:2  <- broken",
        "  link:b: tcp 127.0.0.1:4  <- broken",
    ]
