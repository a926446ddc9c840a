"""How fast a run folder is judged: 1, 3 and 10 million samples, many cells, and a small run with
start-up.

    python benchmarks/judge_speed.py [--only small|1M|3M|10M|cells] [--repeat N]

Each figure is the best of several fresh processes that judge a folder written before; CPU seconds
beside wall seconds, because a shared machine tells the truth only in the former. Limits, for one
core of a quiet machine: 10 M samples in 4 s and 500 MB, time linear in samples; 200 populations x
64 shards x read/write in 15 s; 10,000 samples in 0.5 s with start-up.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"small": 10_000, "1M": 1_000_000, "3M": 3_000_000, "10M": 10_000_000, "cells": 10_000_000}
LIMITS = {"small": (0.5, 500), "10M": (4.0, 500), "cells": (15.0, 1500)}
SECONDS = 900.0


def plan_for(case: str) -> Any:
    from stormgate.model import Fault, Load, Objective, Plan, Population, Target

    cells = case == "cells"
    count = 200 if cells else 24
    by = ["population", "shard", "op"] if cells else ["population", "op"]
    specs: list[tuple[str, dict[str, Any]]] = [
        ("availability", {"target": 0.999, "by": by if cells else []}),
        ("latency", {"quantile": 0.95, "lte_ms": 50, "by": by}),
        ("latency", {"quantile": 0.99, "lte_ms": 300, "coverage": 0.9}),
        ("failover", {"lte_s": 5, "by": by}),
    ]
    seconds = 40.0 if case == "small" else SECONDS
    populations = tuple(
        Population(
            name=f"city-{i:03d}", share=1 / count, latitude=0, longitude=0, labels={"country": "XX"}
        )
        for i in range(count)
    )
    return Plan(
        gate="speed",
        seed=1,
        confidence=0.95,
        target=Target(name="made-up", populations=populations),
        load=Load(locustfile="x.py", rate_per_s=SIZES[case] / seconds, users=1, workers=2),
        warmup_s=0.0,
        steady_s=seconds / 2,
        final_s=0.0,
        faults=(Fault(name="kill", experiment="x.yaml", recovery_s=seconds / 2 - 10),),
        objectives=tuple(
            Objective(name=f"{k}-{i}", kind=k, spec=s) for i, (k, s) in enumerate(specs)
        ),
    ).sealed()


def write(case: str, folder: Path) -> None:
    """A run folder with noise: 0.01 % errors, log-normal latencies, a 3 s outage of one
    population.
    """
    import numpy as np
    import pyarrow as pa

    from stormgate.judge.synthetic import (
        MemoryRun,
        batch_of,
        generator_of,
        stretches_of,
        timeline_of,
    )
    from stormgate.model import to_json

    plan = plan_for(case)
    rng = np.random.default_rng(5)
    phases = stretches_of(plan, fault_s=10.0)
    begin, end = phases[0].begin_ns, phases[-1].end_ns or 0
    n, names = SIZES[case], [p.name for p in plan.target.populations]
    (folder / "samples").mkdir(parents=True)
    planned: dict[str, Any] = {}
    kill = next(p for p in phases if p.name == "fault[kill]").begin_ns + 2_000_000_000
    for w in range(2):
        mine = n // 2
        intended = begin + np.sort(rng.integers(0, end - begin, mine))
        planned[f"worker-{w}"] = intended
        schema, sink, out = (
            None,
            pa.OSFile(str(folder / "samples" / f"worker-{w}.arrow"), "wb"),
            None,
        )
        for at in range(0, mine, 50_000):
            t = intended[at : at + 50_000]
            m = len(t)
            population = rng.integers(0, len(names), m).astype(np.int32)
            bad = (rng.random(m) < 1e-4) | (
                (t >= kill) & (t < kill + 3_000_000_000) & (population == 0)
            )
            columns = {
                "intended_ns": t,
                "sent_ns": t + 100_000,
                "done_ns": t + (np.exp(rng.normal(2.5, 0.5, m)) * 1e6).astype(np.int64),
                "population": (population, names),
                "route": (rng.integers(0, 6, m).astype(np.int32), [f"route-{i}" for i in range(6)]),
                "op": ((rng.random(m) < 0.2).astype(np.int32), ["read", "write"]),
                "request": np.arange(at, at + m),
                "attempt": np.ones(m),
                "status": np.where(bad, 0, 200),
                "outcome": (bad.astype(np.int32), ["ok", "reset"]),
            }
            labels = {
                "served_by": (
                    np.where(bad, -1, rng.integers(0, 3, m)).astype(np.int32),
                    ["eu", "us", "ap"],
                ),
                "shard": (rng.integers(0, 64, m).astype(np.int32), [f"s{i}" for i in range(64)]),
                "cache": (
                    np.where(bad, -1, rng.integers(0, 2, m)).astype(np.int32),
                    ["hit", "miss"],
                ),
            }
            batch = batch_of(f"worker-{w}", columns, labels)
            if out is None:
                schema = batch.schema
                out = pa.ipc.new_stream(sink, schema)
            out.write_batch(batch)
        if out is not None:
            out.close()
        sink.close()
    run = MemoryRun(
        plan=plan, timeline=timeline_of(plan, phases), generator=generator_of(begin, end, planned)
    )
    (folder / "plan.json").write_text(json.dumps(to_json(plan)))
    for name in ("timeline", "generator"):
        (folder / f"{name}.ndjson").write_text(
            "".join(json.dumps(row) + "\n" for row in getattr(run, name))
        )


def judge_once(folder: Path) -> None:
    from stormgate.evidence import open_run
    from stormgate.judge import judge

    judgement = judge(open_run(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu = time.process_time()
    print(
        json.dumps(
            {"verdicts": [f.verdict for f in judgement.objectives], "peak_mb": peak, "cpu_s": cpu}
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SIZES)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.judge:
        judge_once(options.judge)
        return
    if options.write:
        write(options.only, options.write)
        return
    print(f"{'case':>6} {'samples':>10} {'wall s':>7} {'CPU s':>6} {'peak MB':>8}  limit")
    for case in [options.only] if options.only else list(SIZES):
        with tempfile.TemporaryDirectory() as temporary:
            me = [sys.executable, __file__]
            subprocess.run(
                [*me, "--only", case, "--write", f"{temporary}/run"], check=True, cwd=ROOT
            )
            best: dict[str, Any] = {}
            for _ in range(options.repeat):
                begin = time.perf_counter()
                done = subprocess.run(
                    [*me, "--judge", f"{temporary}/run"],
                    check=True,
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                )
                wall = time.perf_counter() - begin
                if not best or wall < best["wall"]:
                    best = {"wall": wall, **json.loads(done.stdout)}
        limit = LIMITS.get(case)
        told = f"<= {limit[0]:g} s, <= {limit[1]} MB" if limit else ""
        figures = f"{best['wall']:>7.2f} {best['cpu_s']:>6.2f} {best['peak_mb']:>8.0f}"
        print(f"{case:>6} {SIZES[case]:>10,} {figures}  {told}  {best['verdicts']}")


if __name__ == "__main__":
    main()
