"""The faults that one process keeps for people: made through the same selection, ledger, proof and
undo as those of a gate, each with its own name, its own deadline and its own journal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from stormgate.chaos.session import write_journal
from stormgate.faults import expansion
from stormgate.faults.context import Context
from stormgate.faults.errors import ChaosError, EmptySelection, UndoFailed
from stormgate.faults.inject import PROOF_S, inject
from stormgate.faults.ledger import Entry, open_entries
from stormgate.faults.selection import Selector, select
from stormgate.faults.undo import undo_entries
from stormgate.judge.journal import OURS
from stormgate.model import Component, Event
from stormgate.net.status import read_status, wait_whole
from stormgate.supervise.hands.parting import PARTITION, Parting
from stormgate.supervise.hands.rules import Bounds, Refused, hold_bounds, hold_production, stands_s

Say = Callable[[str], object]
# An undo that failed is tried again so often until somebody ends it.
AGAIN_S = 5.0
BY_HAND = "by hand"


class Ending(ChaosError):  # noqa: N818 - named for what happened, as the others
    """This keeper breaks nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody asks to be broken: `components` by name or as selections, taken back after
    `for_s` seconds by itself (None: a default). `fault` names it; empty: the next free name.
    """

    mode: str
    components: tuple[str | Mapping[str, Any], ...]
    by: str
    for_s: float | None = None
    fault: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    proof_s: float = PROOF_S
    heals: bool = False
    bounds: Bounds = field(default_factory=Bounds)
    allow_production: bool = False

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Order:
        """From a question. Raises ValueError, TypeError, KeyError for what is none."""
        return cls(
            mode=str(data["mode"]),
            components=tuple(
                dict(one) if isinstance(one, Mapping) else str(one) for one in data["components"]
            ),
            for_s=None if data.get("for_s") is None else float(data["for_s"]),
            by=str(data["by"]),
            fault=str(data.get("fault") or ""),
            params=dict(data.get("params") or {}),
            proof_s=float(data.get("proof_s") or PROOF_S),
            heals=data.get("heals") is True,
            bounds=Bounds(*(data.get("bounds") or ())),
            allow_production=data.get("allow_production") is True,
        )


@dataclass(slots=True)
class _Kept:
    """One fault that stands, or is about to."""

    order: Order
    context: Context
    for_s: float
    journal: dict[str, Any]
    parting: Parting | None = None
    due: float | None = None
    rolling_back: bool = False
    failed: list[str] = field(default_factory=list)


class KeptFaults:
    """All that one keeper keeps. Every method may be called from any thread."""

    def __init__(self, context: Context) -> None:
        self._base = context
        self._lock = threading.Lock()
        self._undoing = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._names: list[str] = []
        self._closed: ChaosError | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing stands."""
        with self._lock:
            return not self._kept

    def close(self, why: str) -> None:
        """Break nothing more."""
        with self._lock:
            self._closed = Ending(f"nothing is broken any more: {why}")

    def wait(self, why: str | None) -> None:
        """Break nothing yet (None: from now on)."""
        with self._lock:
            self._closed = None if why is None else Refused(why)

    def inject(self, order: Order) -> dict[str, Any]:
        """Break it, and return when it is proven: `fault`, `rows` of what stands, `until_utc`; or
        `error` and `why`, with everything of it taken back (UndoFailed: it is not).
        """
        try:
            kept = self._begin(order)
        except ChaosError as error:
            return {"error": type(error).__name__, "why": str(error)}
        fault = kept.context.fault
        begun = time.monotonic()
        try:
            rows = self._break(kept)
        except Exception as error:
            self._failed(kept, error, time.monotonic() - begun)
            return {"fault": fault, "error": type(error).__name__, "why": str(error)}
        with self._lock:
            kept.due = time.monotonic() + kept.for_s
        kept.journal["run"] = [_run(kept.journal, "method", begun, output=rows)]
        until = datetime.now(UTC) + timedelta(seconds=kept.for_s)
        return {"fault": fault, "rows": rows, "until_utc": _iso(until)}

    def _break(self, kept: _Kept) -> list[dict[str, Any]]:
        order, target = kept.order, kept.context.target
        mode, as_one, params = order.mode, None, self._params(kept)
        if kept.parting is not None:
            chosen = kept.parting.links(target)
            mode, as_one, params = kept.parting.cut, kept.parting.name, {}
        else:
            chosen = chosen_components(kept.context, order)
        hold_bounds(target, chosen, mode, order.bounds)
        return inject(
            kept.context,
            chosen,
            mode,
            params,
            proof_s=order.proof_s,
            as_one=as_one,
            heals=order.heals,
        )

    def undo(self, faults: Sequence[str] | None, by: str, say: Say = str) -> dict[str, Any]:
        """Take these faults back (None: all), newest first. `undone` and `failed`, in words; what
        failed stays, and is tried again.
        """
        with self._lock:
            chosen = [k for k in self._kept.values() if faults is None or k.context.fault in faults]
        undone: list[str] = []
        failed: list[str] = []
        for kept in reversed(chosen):
            with self._undoing:
                undone += self._take_back(kept, by, say)
            failed += kept.failed
        return {"undone": undone, "failed": failed}

    def undo_ids(self, ids: Sequence[str], by: str, say: Say = str) -> dict[str, Any]:
        """Take back the faults that these injections, components or names belong to."""
        wanted = {
            entry.fault
            for entry in open_entries(self._base.folder)
            if {entry.instance, entry.fault, entry.component} & set(ids)
        }
        return self.undo(sorted(wanted), by, say)

    def undo_due(self) -> None:
        """Take back what has stood its time; what could not be is tried again."""
        now = time.monotonic()
        with self._lock:
            due = [k.context.fault for k in self._kept.values() if k.due and k.due <= now]
        if due:
            self.undo(due, "its time was over")

    def _begin(self, order: Order) -> _Kept:
        base = self._base
        for_s = stands_s(order.for_s, base.plan)
        known = {component.name for component in base.target.components}
        parting = None
        if order.mode == PARTITION:
            parting = Parting.of(base.target, order.components, order.params)
        hold_production(
            base.target,
            base.plan,
            order.bounds,
            allowed=order.allow_production,
            named=all(isinstance(one, str) and one in known for one in order.components),
            timed=order.for_s is not None,
        )
        with self._lock:
            if self._closed is not None:
                raise self._closed
            fault = order.fault or self._free_name()
            if fault in self._names:
                raise EmptySelection(f"fault {fault!r} was made in this run already: another name")
            self._names.append(fault)
            context = Context(
                base.target,
                base.folder,
                fault,
                base.seed,
                base.ledger,
                base.timeline,
                lock=base.lock,
                plan=base.plan,
            )
            kept = _Kept(order, context, for_s, _journal(order, for_s, parting), parting)
            self._kept[fault] = kept
        base.timeline.write(
            Event.CHAOS_BEGIN,
            fault=fault,
            experiment=BY_HAND,
            by=order.by,
            for_s=for_s,
        )
        return kept

    def _free_name(self) -> str:
        number = len(self._names) + 1
        while f"hand-{number}" in self._names:
            number += 1
        return f"hand-{number}"

    def _params(self, kept: _Kept) -> dict[str, Any]:
        order = kept.order
        if order.mode != expansion.SURGE:
            return dict(order.params)
        own = {"population": None, "for_s": kept.for_s, "folder": str(self._base.folder)}
        return {**own, **order.params}

    def _failed(self, kept: _Kept, error: Exception, lasted_s: float) -> None:
        """An injection that did not come to stand. What of it could not be taken back stays, and is
        tried again.
        """
        fault = kept.context.fault
        began = time.monotonic() - lasted_s
        told = f"{type(error).__name__}: {error}"
        kept.journal["run"] = [_run(kept.journal, "method", began, exception=told)]
        name = str(kept.journal["experiment"]["method"][0]["name"])
        say = self._base.timeline.write
        say(Event.CHAOS_FAILED, fault=fault, activity=name, why=told[:500])
        if isinstance(error, UndoFailed) or self._open(fault):
            kept.failed = [str(error)]
            with self._lock:
                kept.due = time.monotonic() + AGAIN_S
            return
        self._end(kept)

    def _take_back(self, kept: _Kept, by: str, say: Say) -> list[str]:
        fault = kept.context.fault
        kept.context.stopping.set()
        if not kept.rolling_back:
            kept.rolling_back = True
            kept.context.watch.end()
            self._base.timeline.write(Event.CHAOS_ROLLBACK, fault=fault, by=by)
        began = time.monotonic()
        try:
            undone = undo_entries(kept.context, self._open(fault), say=say)
        except (UndoFailed, OSError, ValueError) as error:
            kept.failed = [str(error)]
            with self._lock:
                kept.due = time.monotonic() + AGAIN_S
            return []
        kept.failed = []
        kept.journal["rollbacks"] = [_run(kept.journal, "rollbacks", began, output=undone)]
        self._end(kept)
        return undone

    def _end(self, kept: _Kept) -> None:
        """It is over: its journal, and its last row."""
        fault = kept.context.fault
        with self._lock:
            if self._kept.pop(fault, None) is None:
                return
        target = self._base.target
        kept.journal |= {"status": "completed", "end": _iso(datetime.now(UTC))}
        if not kept.journal["rollbacks"]:
            kept.journal["rollbacks"] = [
                _run(kept.journal, "rollbacks", time.monotonic(), output=[])
            ]
        whole = wait_whole(target, 0.0).whole if target.status_url is not None else None
        kept.journal[OURS] = {
            "fault": fault,
            "open": [f"{e.part.name} ({e.mode})" for e in self._open(fault)],
            "whole": whole,
            "stopped": False,
            "folder": str(self._base.folder),
        }
        path = write_journal(self._base.folder, fault, kept.journal)
        self._base.timeline.write(
            Event.CHAOS_END, fault=fault, exit_code=None, journal=f"journals/{path.name}"
        )

    def _open(self, fault: str) -> list[Entry]:
        return [entry for entry in open_entries(self._base.folder) if entry.fault == fault]


def chosen_components(context: Context, order: Order) -> list[Component]:
    """The components of an order. Raises EmptySelection for a name that nothing has."""
    if order.mode == expansion.SURGE:
        population = order.params.get("population")
        name = "load" if population is None else f"load of {population}"
        return [Component(name=name, kind=expansion.LOAD, backend="load")]
    selectors = [Selector.of(item) for item in order.components]
    if not selectors:
        raise EmptySelection("nothing is selected")
    roles: Mapping[str, str | None] = {}
    if any(selector.role is not None for selector in selectors):
        status = read_status(context.target)
        if not status.reached:
            raise EmptySelection(f"the live roles are unknown: {status.why}")
        roles = status.roles
    chosen: dict[str, Component] = {}
    for selector in selectors:
        seed = f"{context.seed}/{context.fault}"
        for one in select(context.target.components, selector, seed=seed, roles=roles):
            chosen.setdefault(one.name, one)
    return list(chosen.values())


def _journal(order: Order, for_s: float, parting: Parting | None) -> dict[str, Any]:
    """What happens, in the shape of Chaos Toolkit's journals, so that the judge looks at it alike;
    `stormgate.by` says that no experiment did it.
    """
    what = " ".join((order.mode, *(str(Selector.of(one)) for one in order.components)))
    what = what.replace("name=", "").replace("'", "")
    arguments: dict[str, Any] = {
        "component": list(order.components),
        "mode": order.mode,
        **order.params,
    }
    func, module = "break_component", "stormgate.chaos.actions"
    if parting is not None:
        func = PARTITION
        arguments = {"sets": [list(one) for one in parting.sets], "mode": parting.cut}
    act = {
        "type": "action",
        "name": what,
        "provider": {
            "type": "python",
            "module": module,
            "func": func,
            "arguments": arguments,
        },
    }
    undo = {
        "type": "action",
        "name": "undo",
        "provider": {"type": "python", "module": module, "func": "undo", "arguments": {}},
    }
    return {
        "experiment": {
            "title": f"{what}, {BY_HAND}",
            "description": f"{order.by}, for {for_s:g} s",
            "method": [act],
            "rollbacks": [undo],
        },
        "start": _iso(datetime.now(UTC)),
        "status": "running",
        "deviated": False,
        "steady_states": {"before": None, "after": None, "during": []},
        "run": [],
        "rollbacks": [],
    }


def _run(journal: Mapping[str, Any], part: str, began: float, **what: Any) -> dict[str, Any]:
    """One activity as it went."""
    exception = what.pop("exception", None)
    row = {"activity": journal["experiment"][part][0], "duration": time.monotonic() - began, **what}
    if exception is None:
        return {**row, "status": "succeeded"}
    return {**row, "status": "failed", "exception": [exception]}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
