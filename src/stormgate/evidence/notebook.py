"""A run as tables and plots for a notebook: for who would rather ask than look.

Requests, not attempts: by the last attempt, from the first intended start, as the judge counts
them. The tables need pandas alone; the plots need matplotlib, the extra `notebook`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stormgate.evidence.laws import RowLaws
from stormgate.evidence.samples import Requests

if TYPE_CHECKING:
    import pandas as pd

HOW_TO_PLOT = "plots need matplotlib: pip install 'stormgate[notebook]'"


class RunPhase(Protocol):
    """A stretch of a run; `end_ns` None where it did not end."""

    @property
    def name(self) -> str: ...
    @property
    def begin_ns(self) -> int: ...
    @property
    def end_ns(self) -> int | None: ...


class ReadableRun(Protocol):
    """What of a run folder is asked here (`evidence.read.Run`)."""

    problems: list[str]

    @property
    def timeline(self) -> list[dict[str, Any]]: ...
    def batches(self) -> Iterator[tuple[str, Any]]: ...
    def phases(self) -> Sequence[RunPhase]: ...


def requests(run: ReadableRun) -> pd.DataFrame:
    """One row per request: `at_s` (intended start, seconds since the run began), `latency_ms` (inf
    for one that was not answered right), `ok`, `status`, `attempt`, and each label as a category.
    Empty without samples; what cannot be read is in `run.problems`.
    """
    import pandas as pd

    begin_ns = min((int(row["at_ns"]) for row in run.timeline), default=None)
    folded = Requests(run.batches(), RowLaws())
    frames = []
    for block in folded:
        origin = begin_ns if begin_ns is not None else int(block.intended_ns.min())
        begin_ns = origin
        columns: dict[str, Any] = {
            "at_s": (block.intended_ns - origin) / 1e9,
            "latency_ms": np.where(block.ok, block.latency_ns / 1e6, np.inf),
            "ok": block.ok,
            "status": block.status,
            "attempt": block.attempt,
        }
        for name, codes in sorted(block.codes.items()):
            names = np.array([None, *block.columns[name].names[1:]], dtype=object)
            columns[name] = names[codes]
        frames.append(pd.DataFrame(columns))
    for problem in folded.problems:
        if problem not in run.problems:
            run.problems.append(problem)
    if not frames:
        return pd.DataFrame(columns=["at_s", "latency_ms", "ok", "status", "attempt"])
    whole: pd.DataFrame = pd.concat(frames, ignore_index=True)
    for name in whole.columns:
        if whole[name].dtype == object:
            whole[name] = whole[name].astype("category")
    return whole.sort_values("at_s", ignore_index=True)


def over_time(
    run: ReadableRun, what: str, by: str | None, every_s: float, quantile: float = 0.95
) -> pd.DataFrame:
    """A column per value of `by` (one column `all` without), a row per `every_s` seconds: `latency`
    (the quantile, ms, inf among failures), `good` (a share from 0 to 1) or `rate` (requests/s).
    Raises KeyError for a `by` that no sample has, ValueError for another `what`.
    """
    frame = requests(run)
    if by is not None and by not in frame.columns:
        known = ", ".join(str(name) for name in frame.columns[5:])
        raise KeyError(f"no sample has {by!r}; there are: {known}")
    frame["second"] = (frame["at_s"] // every_s) * every_s
    group = frame[by].astype(object).fillna("(unknown)") if by is not None else "all"
    frame["group"] = group
    parts = frame.groupby(["second", "group"], observed=True)
    if what == "latency":
        # The value at a rank, never between two: half of a failure is no latency.
        table = parts["latency_ms"].quantile(quantile, interpolation="higher")
    elif what == "good":
        table = parts["ok"].mean()
    elif what == "rate":
        table = parts["ok"].count() / every_s
    else:
        raise ValueError(f"{what!r} is none of latency, good, rate")
    wide: pd.DataFrame = table.unstack("group")
    return wide.fillna(0.0) if what == "rate" else wide


def plot(
    run: ReadableRun, what: str, by: str | None, every_s: float, quantile: float = 0.95
) -> Any:
    """`over_time` as lines with the faults shaded; the matplotlib Axes. Raises ImportError, with
    what to install, without matplotlib.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(HOW_TO_PLOT) from error
    table = over_time(run, what, by, every_s, quantile)
    _, axes = plt.subplots(figsize=(11, 4))
    for name in table.columns:
        # Failures are infinitely slow: they stand above the axis, as a gap in the line.
        values = table[name].replace([np.inf], np.nan)
        axes.plot(table.index, values, label=str(name), drawstyle="steps-post")
    titles = {
        "latency": f"p{quantile * 100:g}, ms",
        "good": "share of good answers",
        "rate": "requests/s",
    }
    axes.set_ylabel(titles[what])
    axes.set_xlabel("seconds of the run")
    if what == "latency":
        axes.set_yscale("log")
    begin_ns = min((int(row["at_ns"]) for row in run.timeline), default=0)
    for phase in run.phases():
        if phase.name.startswith("fault[") and phase.end_ns is not None:
            begin, end = (phase.begin_ns - begin_ns) / 1e9, (phase.end_ns - begin_ns) / 1e9
            axes.axvspan(begin, end, alpha=0.12, color="red", label=phase.name)
    axes.legend(loc="best", fontsize="small")
    return axes
