"""A run as tables: the same requests that the judge counts, and figures that anybody can check."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from tests.golden.report_cases import write_run

from stormgate.evidence import notebook, open_run
from stormgate.evidence.read import Run
from stormgate.report.series.collect import collect, span


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(write_run(tmp_path_factory.mktemp("run") / "run", seconds=50))


def test_a_row_is_a_request(run: Run) -> None:
    frame = run.requests()
    assert len(frame) == len(run.samples()) == 400 * 46
    assert list(frame.columns[:5]) == ["at_s", "latency_ms", "ok", "status", "attempt"]
    assert {"population", "op", "route", "outcome", "served_by", "cache"} <= set(frame.columns)
    assert frame["at_s"].is_monotonic_increasing
    assert frame["at_s"].iloc[0] == pytest.approx(3.0)
    failed = frame[~frame["ok"]]
    assert len(failed) > 0
    assert failed["latency_ms"].map(math.isinf).all()


def test_what_is_asked_over_time_is_what_the_page_draws(run: Run) -> None:
    begin, end = span(run.timeline) or (0, 0)
    drawn = collect(run, begin, end, None, []).cuts["population"].groups
    good = notebook.over_time(run, "good", "population", 1.0)
    rate = notebook.over_time(run, "rate", "population", 1.0)
    for name, group in drawn.items():
        for second in (10, 38, 40, 48):
            total, well = group.total_by_bin[second], group.good_by_bin[second]
            assert rate.loc[second, name] == total
            if total:
                assert good.loc[second, name] == pytest.approx(well / total)


def test_a_quantile_among_failures_is_infinite_and_never_between_two(run: Run) -> None:
    table = notebook.over_time(run, "latency", None, 1.0, 0.95)
    assert list(table.columns) == ["all"]
    assert math.isinf(table.loc[39, "all"])
    assert math.isfinite(table.loc[20, "all"])
    frame = run.requests()
    second = frame[(frame["at_s"] >= 20) & (frame["at_s"] < 21)]
    assert table.loc[20, "all"] in set(second["latency_ms"])


def test_what_nobody_recorded_is_refused_by_name(run: Run) -> None:
    with pytest.raises(KeyError, match="no sample has 'tier'; there are: cache, op"):
        notebook.over_time(run, "good", "tier", 1.0)
    with pytest.raises(ValueError, match="none of latency, good, rate"):
        notebook.over_time(run, "speed", None, 1.0)


def test_without_samples_the_table_is_empty(tmp_path: Path) -> None:
    assert len(open_run(tmp_path).requests()) == 0


def test_without_matplotlib_it_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'stormgate\[notebook\]'"):
        run.plot_latency()


def test_lines_are_plotted_with_the_fault_shaded(run: Run) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="the extra `notebook` is not installed")
    matplotlib.use("Agg")
    for axes, lines in ((run.plot_latency(), 6), (run.plot_good(by="op"), 2), (run.plot_rate(), 1)):
        assert len(axes.lines) == lines
        assert "fault[region-loss]" in axes.get_legend_handles_labels()[1]
