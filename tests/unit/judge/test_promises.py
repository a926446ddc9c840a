"""The figures of docs/statistics.md about short runs and small excesses are those of the judge."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stormgate.judge.statistics import bounds as s

PAGE = (Path(__file__).parents[3] / "docs" / "statistics.md").read_text(encoding="utf-8")
ALPHA = 0.05
RUNS = 400


def rows(after: str) -> dict[str, list[str]]:
    """The rows of the first table after some words of the page: first cell -> the others."""
    lines = PAGE.split(after, 1)[1].split("\n|", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return {first.strip("| "): rest for first, *rest in cells}


BURSTS = rows("A short run knows the bursts")
STEADY = rows("A steady share a little over")


@pytest.mark.parametrize(
    ("run", "seconds"), [("85 s", 85), ("10 min", 600), ("1 h", 3600), ("8.3 h", 29956)]
)
def test_how_often_a_bursty_service_passes(run: str, seconds: int) -> None:
    rng = np.random.default_rng(seconds)
    for told, burst in zip(BURSTS[run][:3], (0.02, 0.2, 1.0), strict=True):
        passed = anyway = 0
        for _ in range(RUNS):
            hits = rng.binomial(seconds, 2e-4 / burst)
            bad = rng.binomial(400, burst, hits).astype(float)
            passed += s.burst_upper_bound(bad, 400 * seconds, seconds, ALPHA) <= 1e-4
            anyway += s.burst_upper_bound(bad, 400 * seconds, seconds, ALPHA, 400) <= 1e-4
        assert float(told.rstrip(" %")) == pytest.approx(100 * passed / RUNS, abs=6), (run, burst)
        assert anyway / RUNS <= (0.02 if seconds > 29_000 else 0)


@pytest.mark.parametrize("name", STEADY)
def test_how_often_a_steady_excess_is_found(name: str) -> None:
    total, seconds, _ = (int(n.replace(",", "")) for n in re.findall(r"[\d,]+", name))
    rng = np.random.default_rng(total)
    for told, truth in zip(STEADY[name], (0.055, 0.06, 0.07, 0.08), strict=True):
        figures = [float(n) for n in re.findall(r"[\d.]+", told)]
        found = plain = 0
        for _ in range(RUNS):
            x = rng.binomial(total // seconds, truth, seconds)
            found += s.burst_tail(x, total, seconds, 0.05, ALPHA)[0] <= ALPHA
            plain += float(s.tail_p(x.sum(), total, 0.05)) <= ALPHA
        assert figures[0] == pytest.approx(100 * found / RUNS, abs=6), (name, truth)
        if len(figures) > 1:
            assert figures[1] == pytest.approx(100 * plain / RUNS, abs=6), (name, truth)
