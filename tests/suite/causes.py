"""Six causes planted in the lab among five decoys each, and whether `stormgate reproduce --shrink`
ends with the planted one alone:

    python -m tests.suite.causes --folder /tmp/causes [--only NAME ...] [--make] [--minutes 15]

Each is a gate whose one trial breaks everything at once. `--make` only runs the failing gates.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stormgate.reproduce.native import experiment
from stormgate.reproduce.schedule import Segment, schedule_of
from stormgate.reproduce.suite import yaml_text

ROOT = Path(__file__).resolve().parents[2]
EU = {"population": ["london", "frankfurt"]}
HOLD_S = 6.0


def _at(
    where: str, mode: str, length_s: float = HOLD_S, start_s: float = 0.0, **params: Any
) -> Segment:
    return Segment(where=where, mode=mode, start_s=start_s, length_s=length_s, params=params)


DECOYS = (
    _at("link:us-east/service->us-east/cache", "slow", latency_ms=40),
    _at("us-west/cache", "crash"),
    _at("link:population/san-francisco->us-west/edge", "slow", latency_ms=40),
    _at("link:us-east/edge->us-east/service", "slow", latency_ms=50),
    _at("link:us-west/service->us-west/db-us", "slow", latency_ms=40),
)


@dataclass(frozen=True, slots=True)
class Cause:
    """What is planted, the objective that fails by it, and which of it may be dispensable: a storm
    on top of what fails already.
    """

    segments: tuple[Segment, ...]
    objective: Mapping[str, Any]
    needed: tuple[str, ...] = field(default=())


def _slow_reads(lte: str) -> dict[str, Any]:
    return {
        "name": "eu-reads",
        "kind": "latency",
        "quantile": 0.95,
        "lte": lte,
        "phases": ["fault"],
        "where": {**EU, "op": ["read"]},
    }


_ANSWERED = {
    "name": "eu-answered",
    "kind": "availability",
    "target": 0.99,
    "within": "2s",
    "phases": ["fault"],
    "where": EU,
}
# An outage that everybody in Europe shares is one burst: its length is a fact, its share is not.
_SERVED_AGAIN = {
    "name": "eu-served-again",
    "kind": "failover",
    "lte": "500ms",
    "within": "2s",
    "by": ["population"],
    "where": EU,
}
_VALKEY = "link:eu-west/service->eu-west/cache"
CAUSES = {
    "slow-valkey": Cause(
        (_at(_VALKEY, "slow", latency_ms=150),), _slow_reads("100ms"), (f"slow {_VALKEY}",)
    ),
    "shard-freeze": Cause(
        (
            _at("eu-west/db-eu", "freeze", length_s=4.0),
            _at("load", "surge", factor=2.0, length_s=6.0),
        ),
        _SERVED_AGAIN,
        ("freeze eu-west/db-eu",),
    ),
    "one-way-partition": Cause(
        (_at("link:eu-west/service->eu-west/db-eu", "blackhole"),),
        _ANSWERED,
        ("blackhole link:eu-west/service->eu-west/db-eu",),
    ),
    "flaky-link": Cause(
        (_at("link:population/london->eu-west/edge", "lossy", share=0.3),),
        _ANSWERED,
        ("lossy link:population/london->eu-west/edge",),
    ),
    "expiry-and-slow-shard": Cause(
        (
            _at("eu-west/cache", "crash", length_s=1.0),
            _at("link:eu-west/service->eu-west/db-eu", "slow", latency_ms=150),
        ),
        _slow_reads("100ms"),
        ("slow link:eu-west/service->eu-west/db-eu",),
    ),
    "edge-loss-at-peak": Cause(
        (_at("eu-west/edge", "crash"), _at("load", "surge", factor=2.0, length_s=8.0)),
        _SERVED_AGAIN,
        ("crash eu-west/edge",),
    ),
}


def write(name: str, cause: Cause) -> Path:
    """The gate that fails by the cause, among decoys, in a suite of its own below the project."""
    home = ROOT / "slas" / f".cause-{name}"
    home.mkdir(exist_ok=True)
    modes = {one.mode for one in (*cause.segments, *DECOYS)}
    schedule = schedule_of((*cause.segments, *DECOYS), known=modes)
    made = experiment(f"{name}, among decoys", "A planted cause and five decoys.", schedule)
    (home / "everything.yaml").write_text(yaml_text(made, name))
    gate = {
        "apiVersion": "stormgate.dev/v1",
        "kind": "ReleaseGate",
        "metadata": {"name": name},
        "spec": {
            "target": "../../targets/lab.yaml",
            "load": {"locustfile": "../../loadtests/chenu.py", "ratePerS": 120, "users": 120},
            "seed": 7,
            "phases": {"warmup": "8s", "steady": "3s", "final": "0s"},
            "faults": [{"name": "everything", "experiment": "everything.yaml", "recovery": "3s"}],
            "objectives": [dict(cause.objective)],
            "validity": {"maxSendLagP99": "100ms", "minAchieved": 0.9, "maxCpu": 1.0},
        },
    }
    (home / "gate.yaml").write_text(yaml_text(gate, name))
    return home / "gate.yaml"


def run_gate(gate: Path, reports: Path) -> Path | None:
    """The failed run's folder; None when it did not fail."""
    argv = [sys.executable, "-m", "stormgate.cli", "gate", str(gate), "--reports", str(reports)]
    done = subprocess.run(argv, cwd=ROOT, check=False)
    return (reports / "latest").resolve() if done.returncode == 1 else None


def shrink(run: Path, out: Path, minutes: float) -> tuple[list[str], float]:
    """The faults that were left, and the seconds it took."""
    argv = [sys.executable, "-m", "stormgate.cli", "reproduce", str(run), "--shrink"]
    argv += ["--out", str(out), "--minutes", str(minutes)]
    began = time.monotonic()
    subprocess.run(argv, cwd=ROOT, check=False)
    result = json.loads((out / "shrunk.json").read_text())
    left = [one["fault"] for one in result["segments"]]
    return list(dict.fromkeys(left)), time.monotonic() - began


def main() -> int:
    """Plays the causes asked for; 0 if each ended with what was planted, and no decoy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=sorted(CAUSES))
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--minutes", type=float, default=15.0)
    asked = parser.parse_args()
    decoys = {f"{one.mode} {one.where}" for one in DECOYS}
    wrong = 0
    for name in asked.only or CAUSES:
        cause, reports = CAUSES[name], asked.folder / name
        gate = write(name, cause)
        run = run_gate(gate, reports)
        if run is None or asked.make:
            wrong += run is None
            print(f"{name}: {run or 'the gate did not fail'}", flush=True)
            continue
        left, took_s = shrink(run, asked.folder / f"{name}-shrunk", asked.minutes)
        right = set(cause.needed) <= set(left) and not decoys & set(left)
        wrong += not right
        print(f"{name}: {'right' if right else 'WRONG'} in {took_s:.0f} s: {left}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
