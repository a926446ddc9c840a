"""The gate's own load, for a moment and at a low rate: does each route answer as its flow expects,
for each population? Its evidence is read and forgotten; nothing is judged.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stormgate.evidence.live import LiveSamples, NdjsonTail
from stormgate.evidence.write import TIMELINE
from stormgate.faults.declared import CheckRow
from stormgate.model import Event, Plan
from stormgate.supervise import children, conclude
from stormgate.system.processes import spawn, stop

_READY_S = 60.0
_TICK_S = 0.1
_LEAST_S = 1.5
_MOST_S = 5.0
# So many arrivals a stream leave one in 150 of them out.
_ARRIVALS = 5.0
_SETTLE_S = 3.0
_GRACE_S = 5.0


@dataclass(slots=True)
class _Route:
    """What came of a route: outcomes with the status of the bad ones, and latencies (ms)."""

    outcomes: Counter[str] = field(default_factory=Counter)
    right: int = 0
    slowest_ms: float = 0.0


@dataclass(slots=True)
class _Seen:
    """What the short load left behind."""

    routes: dict[str, _Route] = field(default_factory=dict)
    populations: Counter[str] = field(default_factory=Counter)
    ready: bool = False
    troubles: list[CheckRow] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        route = self.routes.setdefault(str(row["route"]), _Route())
        status = f" (HTTP {row['status']})" if row["status"] and row["outcome"] != "ok" else ""
        route.outcomes[f"{row['outcome']}{status}"] += 1
        if row["outcome"] == "ok":
            route.right += 1
            self.populations[str(row["population"])] += 1
            took_ms = (row["done_ns"] - row["intended_ns"]) / 1e6
            route.slowest_ms = max(route.slowest_ms, took_ms)

    def note(self, row: dict[str, Any]) -> None:
        event = row.get("event")
        if event == Event.LOAD_READY:
            self.ready = True
        elif event == Event.LOAD_FLOW_ERROR and not row.get("over_failure"):
            saw = conclude.flow_error_text(row)
            fix = "mend the flow: it raises although its answers were right"
            self.troubles.append(CheckRow(f"flow {row.get('flow')}", False, saw, fix))
        elif event == Event.NET_REFUSED:
            saw = f"{row.get('who')} asked for {row.get('where')}, which is not allowed"
            fix = "add it to the target's allow, or leave it alone"
            self.troubles.append(CheckRow("load: allow", False, saw, fix))


def rows(plan: Plan, root: Path) -> Iterator[CheckRow]:
    """A row per route, and one for populations that nothing was answered to."""
    with tempfile.TemporaryDirectory(prefix="stormgate-check-") as place:
        folder = Path(place)
        for name in ("samples", "logs"):
            (folder / name).mkdir()
        # Slower than a stream a second each would leave some out; faster than the gate, never.
        rate = min(plan.load.rate_per_s, max(5.0, plan.load.users * _ARRIVALS / _LEAST_S))
        load = replace(plan.load, workers=1, rate_per_s=rate)
        seconds = min(max(_LEAST_S, _ARRIVALS * plan.load.users / rate), _MOST_S)
        trial = replace(plan, load=load).sealed()
        conclude.write_plan(folder, trial)
        seen, died = _play(trial, folder, root, seconds)
    if died is not None:
        file = plan.load.locustfile
        yield CheckRow("load", False, died, f"try it by itself: locust -f {file} -H ...")
        return
    yield from seen.troubles
    yield from _told(seen, plan)


def _play(plan: Plan, folder: Path, root: Path, seconds: float) -> tuple[_Seen, str | None]:
    """What the load did in so many seconds, and why it died if it did."""
    seen, samples = _Seen(), LiveSamples(folder)
    tail = NdjsonTail(folder / TIMELINE)
    log = folder / "logs" / "load.log"
    child = spawn(
        children.load_argv(plan, folder, root),
        env=children.environment(folder, root),
        cwd=root,
        log_path=log,
        new_session=True,
        death_signal=signal.SIGTERM,
    )
    try:
        begun = time.monotonic()
        while time.monotonic() - begun < (seconds if seen.ready else _READY_S):
            time.sleep(_TICK_S)
            was_ready = seen.ready
            _read(seen, samples, tail)
            if seen.ready and not was_ready:
                begun = time.monotonic()
            if child.poll() is not None:
                return seen, f"ended by itself; {children.last_line(log)}"
        if not seen.ready:
            return seen, f"not ready after {_READY_S:g} s; {children.last_line(log)}"
    finally:
        stop(child, _GRACE_S, group=True)
        _read(seen, samples, tail)
        samples.close()
    return seen, None


def _read(seen: _Seen, samples: LiveSamples, tail: NdjsonTail) -> None:
    for _, batch in samples.poll():
        for row in batch.to_pylist():
            seen.add(row)
    for row in tail.poll():
        seen.note(row)


def _told(seen: _Seen, plan: Plan) -> Iterator[CheckRow]:
    if not seen.routes:
        saw = "the load asked for nothing in its first seconds"
        yield CheckRow("routes", False, saw, "look at the flows, or raise ratePerS")
    for name, route in sorted(seen.routes.items()):
        told = ", ".join(f"{count} {what}" for what, count in route.outcomes.most_common(4))
        if route.right:
            yield CheckRow(f"route {name}", True, f"{told}, slowest {route.slowest_ms:.0f} ms")
            continue
        fix = f"correct it in {plan.load.locustfile} (its path, or expect= and check=), or mend it"
        yield CheckRow(f"route {name}", False, f"never as expected: {told}", fix)
    if not any(route.right for route in seen.routes.values()):
        return
    alone = [
        p.name for p in plan.target.populations if p.share > 0 and not seen.populations[p.name]
    ]
    if alone:
        shown = ", ".join(alone[:5]) + (f" and {len(alone) - 5} more" if len(alone) > 5 else "")
        saw = f"no answer yet to {shown}: too few of them for a short try"
        yield CheckRow("populations", True, saw)
