"""The two ways the load engine moves bytes, by turns at equal rate: CPU a request, and how late
each send was.

    python benchmarks/core_engine.py [--rates 2000 10000 30000] [--seconds 4] [--repeat 3] [--busy]

Real Locust, flows resumed for each request, evidence written. nginx has core 0, the load core 1.
`--busy` has a loop beside each, which takes half of both: a machine that does other things, too.
Ratios are of one turn; what is printed is the median of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from load_peers import engine, measure, nginx

ENGINES = ("python", "core")
LOOP = "while True: pass"


@contextlib.contextmanager
def neighbours(wanted: bool) -> Iterator[None]:
    """A loop that never rests on each core."""
    loops = [
        subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c", LOOP])
        for core in ((0, 1) if wanted else ())
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def lags(evidence: Path) -> tuple[float, float, float]:
    """The medians over the seconds of a run of its send lag p50 and p99, and its maximum, in ms."""
    rows = [json.loads(line) for line in (evidence / "generator.ndjson").read_text().splitlines()]
    rows = [row for row in rows if not row["final"]][3:-1]
    return (
        statistics.median(row["send_lag_p50_ms"] for row in rows),
        statistics.median(row["send_lag_p99_ms"] for row in rows),
        max(row["send_lag_max_ms"] for row in rows),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", type=int, nargs="+", default=[2_000, 10_000, 30_000])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--busy", action="store_true")
    given = parser.parse_args()
    print("| rate | engine | us CPU a request | of python's | lag p50 / p99 / max, ms |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name, nginx(Path(name)) as (port, _):
        folder = Path(name)
        for rate in given.rates:
            cost: dict[str, list[float]] = {one: [] for one in ENGINES}
            late: dict[str, list[tuple[float, float, float]]] = {one: [] for one in ENGINES}
            for turn in range(given.repeat):
                for index, one in enumerate(ENGINES):
                    run = turn * len(ENGINES) + index
                    argv, evidence = engine(folder, f"http://127.0.0.1:{port}", rate, run)
                    with neighbours(given.busy):
                        found = measure(argv, port, given.seconds, 2, {"STORMGATE_ENGINE": one})
                    cost[one].append(1e6 / found.per_cpu_s)
                    late[one].append(lags(evidence))
                    print(f"{rate} {one}: {cost[one][-1]:.1f} us, {late[one][-1]}", file=sys.stderr)
            for one in ENGINES:
                pairs = zip(cost[one], cost["python"], strict=True)
                ratio = statistics.median(mine / theirs for mine, theirs in pairs)
                p50, p99, most = (statistics.median(each) for each in zip(*late[one], strict=True))
                print(
                    f"| {rate:,}/s | {one} | {statistics.median(cost[one]):.1f} | {ratio:.2f} "
                    f"| {p50:.2f} / {p99:.2f} / {most:.1f} |"
                )


if __name__ == "__main__":
    main()
