"""Judgements of every verdict, and a synthetic run folder to draw: what the golden tests and a
person at a terminal look at.
"""

# ruff: noqa: E501 - figures read row by row

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from stormgate.model import (
    Cell,
    Failure,
    Fault,
    Finding,
    Judgement,
    Load,
    Objective,
    Plan,
    Population,
    Region,
    Target,
    Verdict,
    to_json,
)

POPULATIONS = (
    ("london", 0.25),
    ("frankfurt", 0.20),
    ("new-york", 0.30),
    ("san-francisco", 0.16),
    ("sao-paulo", 0.05),
    ("singapore", 0.04),
)
PLACES = ((51.5, -0.1), (50.1, 8.7), (40.7, -74.0), (37.8, -122.4), (-23.6, -46.6), (1.4, 103.8))
S = 1_000_000_000


def plan() -> Plan:
    """A small plan with two objectives of availability and latency, one of failover."""
    return Plan(
        gate="chenu-release",
        seed=7,
        confidence=0.95,
        target=Target(
            name="chenu-lab",
            regions=(Region(name="eu-west", latitude=53.3, longitude=-6.3),),
            populations=tuple(
                Population(name=n, share=s, latitude=y, longitude=x)
                for (n, s), (y, x) in zip(POPULATIONS, PLACES, strict=True)
            ),
        ),
        load=Load(locustfile="loadtests/chenu.py", rate_per_s=400, users=40),
        warmup_s=8,
        steady_s=30,
        final_s=15,
        faults=(
            Fault(name="region-loss", experiment="experiments/region-loss.yaml", recovery_s=12),
        ),
        objectives=(
            Objective(
                name="availability",
                kind="availability",
                spec={"target": 0.9999, "within_ms": 2000},
                source="slas/x.yaml:133",
            ),
            Objective(
                name="read-p95",
                kind="latency",
                spec={"quantile": 0.95, "lte_ms": 50},
                source="slas/x.yaml:139",
            ),
            Objective(
                name="failover", kind="failover", spec={"lte_s": 5.0}, source="slas/x.yaml:151"
            ),
        ),
        source="slas/x.yaml",
        started_utc="2026-11-24T21:30:00+00:00",
        digest="5eed" * 16,  # not the real one, which changes with every field the model gains
    )


def finding(name: str, kind: str, verdict: Verdict, why: str, **more: Any) -> Finding:
    """A finding with figures where they are given."""
    numbers: dict[str, Any] = {
        "value": None,
        "bound": None,
        "limit": None,
        "unit": "",
        "samples": 0,
        **more,
    }
    return Finding(name=name, kind=kind, verdict=verdict, why=why, **numbers)


def _availability(verdict: Verdict = Verdict.PASS) -> Finding:
    return finding(
        "availability", "availability", verdict, "0 bad of 38,012; a bad share over 0.00788 % "
                                                 "is ruled out, 0.01 % allowed",
        value=1.0, bound=0.99992119, limit=0.9999, unit="share", samples=38012, source="slas/x.yaml:133",
    )  # fmt: skip


def _latency() -> Finding:
    cells = tuple(
        Cell(
            name=name,
            verdict=Verdict.PASS if ms < 50 else Verdict.FAIL,
            value=ms,
            bound=ms + 0.9,
            samples=n,
            why="",
        )
        for name, ms, n in (
            ("london", 21.4, 7601),
            ("new-york", 18.9, 9120),
            ("sao-paulo", 141.2, 1502),
            ("singapore", 199.6, 1207),
        )
    )
    return finding(
        "read-p95", "latency", Verdict.PASS, "91.0% of users are within p95 <= 50 ms, 90.0% wanted",
        value=21.4, bound=22.3, limit=50, unit="ms", samples=30400, cells=cells, source="slas/x.yaml:139",
    )  # fmt: skip


def _failover(verdict: Verdict, low: float, high: float | None) -> Finding:
    told = (
        f"down for {low:.3f} to {high:.3f} s"
        if high is not None
        else f"down for at least {low:.3f} s"
    )
    cells = (
        Cell(
            name="region-loss: london / read",
            verdict=Verdict.PASS,
            value=2.104,
            bound=2.131,
            samples=4512,
            why="down for 2.104 to 2.131 s",
        ),
        Cell(
            name="region-loss: london / write",
            verdict=verdict,
            value=low,
            bound=high,
            samples=1130,
            why=told,
        ),
        Cell(
            name="region-loss: new-york / read",
            verdict=Verdict.PASS,
            value=0.0,
            bound=0.043,
            samples=5410,
            why="no bad request",
        ),
    )
    return finding(
        "failover", "failover", verdict, f"region-loss: london / write: {told}",
        value=low, bound=high, limit=5.0, unit="s", samples=11052, cells=cells, source="slas/x.yaml:151",
    )  # fmt: skip


def _validity(**changed: tuple[Verdict, str]) -> tuple[Finding, ...]:
    base = {
        "plan": (Verdict.PASS, "the digest fits"),
        "fault-proven": (
            Verdict.PASS,
            "region-loss: seen from outside 0.31 s after it was requested, cleared",
        ),
        "journal": (Verdict.PASS, "every action succeeded, rollbacks played"),
        "send-lag": (Verdict.PASS, "p99 0.8 ms in the worst second, 10 ms allowed"),
        "load-achieved": (Verdict.PASS, "99.97 % of 51,210 planned requests were sent"),
        "evidence-whole": (Verdict.PASS, "2 workers, 412 blocks, every row accounted for"),
    }
    return tuple(
        finding(name, "validity", *(changed.get(name.replace("-", "_"), told)))
        for name, told in base.items()
    )


FAILURES = (
    Failure(
        route="list threads",
        outcome="bad_status",
        status=401,
        count=312,
        expected="200-399",
        url="http://127.0.0.1:8080/threads",
        first_s=38.412,
        last_s=46.25,
        phases={"fault[region-loss]": 300, "recovery[region-loss]": 12},
        populations={"london": 210, "frankfurt": 102},
        served_by={"eu-west": 312},
    ),
    Failure(
        route="post",
        outcome="reset",
        status=0,
        count=1,
        first_s=38.5,
        last_s=38.5,
        phases={"fault[region-loss]": 1},
        populations={"london": 1},
    ),
    *(
        Failure(route=f"route {n}", outcome="late", status=200, count=1, expected="within 2000 ms")
        for n in range(5)
    ),
)  # fmt: skip


def judgement(verdict: Verdict) -> Judgement:
    """A believable judgement with this verdict."""
    return CASES[verdict]


def _judged(
    verdict: Verdict, objectives: tuple[Finding, ...], validity: tuple[Finding, ...], why: str = ""
) -> Judgement:
    return Judgement(
        gate="chenu-release", verdict=verdict, exit_code=verdict.exit_code, plan_digest=plan().digest,
        objectives=objectives, validity=validity, why=why,
    )  # fmt: skip


CASES = {
    Verdict.PASS: _judged(Verdict.PASS, (_availability(), _latency(), _failover(Verdict.PASS, 3.412, 3.466)), _validity()),
    Verdict.FAIL: _judged(Verdict.FAIL, (_availability(), _latency(), _failover(Verdict.FAIL, 8.204, 8.251)), _validity()),
    Verdict.INCONCLUSIVE: _judged(
        Verdict.INCONCLUSIVE,
        (
            finding("availability", "availability", Verdict.INCONCLUSIVE, "12,310 requests, "
                                                                          "29,956 wanted", value=1.0, bound=0.99975667,
                    limit=0.9999, unit="share", samples=12310, source="slas/x.yaml:133"),
            _latency(),
            finding("failover", "failover", Verdict.INCONCLUSIVE, "region-loss: fault not "
                                                                  "observed: no independent "
                                                                  "proof of its effect",
                    limit=5.0, unit="s", source="slas/x.yaml:151"),
        ),
        _validity(
            fault_proven=(Verdict.INCONCLUSIVE, "region-loss: no effect observed on eu-west "
                                                "within 5 s"),
            send_lag=(Verdict.INCONCLUSIVE, "p99 over 10 ms in 14 of 65 seconds: the generator "
                                            "was saturated"),
        ),
    ),
    Verdict.ERROR: _judged(Verdict.ERROR, (), (), "the lab did not start: no free port between "
                                                  "20000 and 20100"),
    Verdict.ABORTED: _judged(
        Verdict.ABORTED,
        tuple(replace(f, verdict=Verdict.ABORTED, why="the run was stopped before its end") for f in (_availability(), _latency())),
        _validity(),
        "guard: 84 % of requests failed over 20 s (limit 60 % for 20 s)",
    ),
    Verdict.DIRTY: _judged(
        Verdict.DIRTY,
        (_availability(), _latency(), _failover(Verdict.INCONCLUSIVE, 8.9, None)),
        _validity(journal=(Verdict.DIRTY, "region-loss: undo of eu-west/db-eu failed: the "
                                          "process did not come back within 30 s")),
    ),
}  # fmt: skip

CASES[Verdict.FAIL] = replace(CASES[Verdict.FAIL], failures=FAILURES)

WAIVED = replace(
    CASES[Verdict.FAIL],
    exit_code=0,
    objectives=tuple(
        replace(
            f, waived="storage-team until 2027-01-31: failover of the eu shard is being rebuilt"
        )
        if f.verdict is Verdict.FAIL
        else f
        for f in CASES[Verdict.FAIL].objectives
    ),
)

HOSTILE = (
    "</td></svg><script>alert(1)</script><img src=x "
    "onerror=alert(2)>|`\"'&\n\x1b[31m\x00\u202e]]>[link](http://evil.example)"
)


def hostile() -> Judgement:
    """A judgement whose every word was chosen by somebody who wants the page to do something
    else.
    """
    cell = Cell(name=HOSTILE, verdict=Verdict.FAIL, value=1.0, bound=2.0, samples=1, why=HOSTILE)
    bad = finding(
        HOSTILE,
        HOSTILE,
        Verdict.FAIL,
        HOSTILE,
        unit=HOSTILE,
        value=1.0,
        cells=(cell,),
        waived=HOSTILE,
        source=f"{HOSTILE}:1",
    )
    return Judgement(
        gate=HOSTILE,
        verdict=Verdict.FAIL,
        exit_code=1,
        plan_digest=HOSTILE,
        objectives=(bad,),
        validity=(bad,),
        failures=(
            Failure(
                route=HOSTILE,
                outcome=HOSTILE,
                status=401,
                count=2,
                expected=HOSTILE,
                url=HOSTILE,
                phases={HOSTILE: 2},
                populations={HOSTILE: 2},
                served_by={HOSTILE: 2},
            ),
        ),
        why=HOSTILE,
    )


def write_run(folder: Path, *, words: str | None = None, seconds: int = 75) -> Path:
    """A run folder as a run leaves it: 400/s, a region lost at 38 s, its users without answers for
    3.4 s. The same every time.
    """
    import pyarrow as pa

    folder.mkdir(parents=True)
    the_plan = plan()
    if words is not None:
        populations = (Population(name=words, share=1.0, latitude=0, longitude=0),)
        the_plan = replace(
            the_plan,
            gate=words,
            target=replace(the_plan.target, name=words, populations=populations),
        ).sealed()
    (folder / "plan.json").write_text(json.dumps(to_json(the_plan)))
    begin = 1_000 * S
    _write_timeline(folder, begin, words or "region-loss")
    draw = random.Random(7)
    rows = [
        _sample(draw, begin + 3 * S + i * S // 400, begin, words)
        for i in range(400 * (seconds - 4))
    ]
    names = ["intended_ns", "done_ns", "population", "op", "outcome"]
    columns = [pa.array(list(column)) for column in zip(*rows, strict=True)]
    many = range(len(rows))
    others = {
        "sent_ns": pa.array([intended for intended, *_ in rows]),
        "route": pa.array(
            [f"{words or ''}{'post' if row[3] == 'write' else 'list'}" for row in rows]
        ),
        "request": pa.array(many, pa.uint64()),
        "attempt": pa.array([1 for _ in many], pa.uint8()),
        "status": pa.array([200 if row[4] == "ok" else 0 for row in rows], pa.uint16()),
        "bytes_in": pa.array([10 for _ in many], pa.uint32()),
        "served_by": pa.array([words or "eu-west" for _ in many]),
        "cache": pa.array([words or ("hit" if n % 3 else "miss") for n in many]),
    }
    names, columns = [*names, *others], [*columns, *others.values()]
    columns = [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in columns]
    batch = pa.RecordBatch.from_arrays(columns, names=names)
    (folder / "samples").mkdir()
    with (
        pa.OSFile(str(folder / "samples" / "w0.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, batch.schema) as writer,
    ):
        for at in range(0, batch.num_rows, 400):
            writer.write_batch(batch.slice(at, 400))
    with (folder / "generator.ndjson").open("w") as out:
        for second in range(4, seconds):
            row = {
                "at_ns": begin + second * S,
                "worker": words or "w0",
                "planned": 400,
                "sent": 400,
                "not_sent": 0,
                "send_lag_p99_ms": 0.4 + draw.random(),
                "loop_lag_max_ms": 2.0,
                "cpu": 0.4,
                "final": second == seconds - 1,
            }
            out.write(json.dumps(row) + "\n")
    return folder


def _write_timeline(folder: Path, begin: int, fault: str) -> None:
    events: list[tuple[float, str, dict[str, Any]]] = [
        (0, "run.begin", {"gate": "chenu-release"}), (2.8, "target.up", {}), (3, "phase.begin", {"phase": "warmup"}),
        (8, "phase.end", {"phase": "warmup"}), (8, "phase.begin", {"phase": "steady"}), (38, "phase.end", {"phase": "steady"}),
        (38, "phase.begin", {"phase": f"fault[{fault}]"}),
        (38.1, "fault.requested", {"fault": fault, "component": "eu-west", "mode": "crash", "id": "1"}),
        (38.4, "fault.observed", {"fault": fault, "component": "eu-west", "id": "1", "proof": "/healthz refused"}),
        (46, "fault.cleared", {"fault": fault, "component": "eu-west", "id": "1"}),
        (46, "phase.end", {"phase": f"fault[{fault}]"}), (46, "phase.begin", {"phase": f"recovery[{fault}]"}),
        (59, "phase.end", {"phase": f"recovery[{fault}]"}), (59, "phase.begin", {"phase": "final"}),
        (75, "phase.end", {"phase": "final"}), (75, "run.end", {}),
    ]  # fmt: skip
    with (folder / "timeline.ndjson").open("w") as out:
        for at, event, rest in events:
            out.write(json.dumps({"at_ns": begin + round(at * S), "event": event, **rest}) + "\n")


def _sample(
    draw: random.Random, at: int, begin: int, words: str | None
) -> tuple[int, int, str, str, str]:
    name = words or draw.choices([n for n, _ in POPULATIONS], [s for _, s in POPULATIONS])[0]
    base = {
        "london": 14,
        "frankfurt": 17,
        "new-york": 12,
        "san-francisco": 13,
        "sao-paulo": 118,
        "singapore": 172,
    }.get(name, 20)
    op = "write" if draw.random() < 0.2 else "read"
    latency_ms = base * (3.5 if op == "write" else 1) * draw.lognormvariate(0, 0.25)
    since = (at - begin) / S - 38.1
    outcome = "ok"
    if 0 <= since < 3.4 and name in {"london", "frankfurt", words}:
        outcome, latency_ms = (
            ("refused", 1.0)
            if since < 1
            else ("first_byte_timeout", 2000.0)
            if op == "write"
            else ("reset", 30.0)
        )
    elif 0 <= since < 12 and name in {"london", "frankfurt"}:
        latency_ms += 22
    return at, at + round(latency_ms * 1e6), name, op, outcome
