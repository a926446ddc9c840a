"""What one run says the value of a finding could truly be: the intervals kinds declare. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

from stormgate.judge.statistics import bounds
from stormgate.model import Finding


def of_detail(low: str, high: str) -> Callable[[Finding, float], tuple[float, float] | None]:
    """Of a finding whose detail holds both ends under these names, each at its own confidence."""

    def interval(finding: Finding, alpha: float) -> tuple[float, float] | None:
        ends = finding.detail.get(low), finding.detail.get(high)
        return None if ends[0] is None or ends[1] is None else (float(ends[0]), float(ends[1]))

    return interval


def of_cell(low: str, high: str) -> Callable[[Finding, float], tuple[float, float] | None]:
    """Of the cell that gave a finding its value, from its detail under these names."""

    def interval(finding: Finding, alpha: float) -> tuple[float, float] | None:
        for cell in finding.cells:
            ends = cell.detail.get(low), cell.detail.get(high)
            if cell.value == finding.value and ends[0] is not None:
                return None if ends[1] is None else (float(ends[0]), float(ends[1]))
        return None

    return interval


def of_share(finding: Finding, alpha: float) -> tuple[float, float] | None:
    """Of a share of requests, counted as `bad` of `samples`."""
    if not finding.samples:
        return None
    detail = finding.detail
    cell = next((c for c in finding.cells if c.value == finding.value), None)
    bad = (
        float(cell.detail.get("bad", detail.get("bad", 0)))
        if cell is not None
        else float(detail.get("bad", 0))
    )
    samples = cell.samples if cell is not None else finding.samples
    deff = max(1.0, float(cell.detail.get("design_effect", 1.0)) if cell is not None else 1.0)
    k, n = bad / deff, samples / deff
    low, high = (
        float(bounds.lower_bound(k, n, alpha)),
        float(bounds.upper_bound(k, n, alpha)),
    )
    # `bad` is the share that misses; a finding's value may be that share or the rest of it.
    if finding.value is not None and math.isclose(
        finding.value, bad / max(samples, 1), rel_tol=1e-9, abs_tol=1e-12
    ):
        return low, high
    return 1.0 - high, 1.0 - low
