"""Breaking: plan everything, write the ledger, break at once, wait for proof; withdraw what was not
proven.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from stormgate.faults import backends
from stormgate.faults.backends import Backend, FaultRequest
from stormgate.faults.context import Context
from stormgate.faults.errors import NotApplied, Stopped, Unproven
from stormgate.faults.expansion import SURGE, Part, parts_of
from stormgate.faults.ledger import Entry
from stormgate.faults.looks.exposure import Exposure
from stormgate.faults.looks.exposure import look as look_at_exposure
from stormgate.faults.looks.served import check_served
from stormgate.faults.looks.users import users_saw
from stormgate.faults.proof import wait_for
from stormgate.faults.undo import undo_entries
from stormgate.model import Component, Event

T = TypeVar("T")
R = TypeVar("R")

PROOF_S = 5.0
_THREADS = 24


@dataclass(frozen=True, slots=True)
class _Instance:
    """One selected component and the ledger entries that break it."""

    id: str
    name: str
    entries: tuple[Entry, ...]
    exposure: Exposure | None = None


def inject(
    context: Context,
    components: Sequence[Component],
    mode: str,
    params: Mapping[str, Any] | None = None,
    *,
    proof_s: float = PROOF_S,
    as_one: str | None = None,
    heals: bool = False,
) -> list[dict[str, Any]]:
    """Break all of `components` at once and return when each is proven to be broken: one row each,
    for the journal.

    `as_one` names a fault that is more than its components (a partition): then they are one fault,
    and one row, of that name. `heals`: something is expected to heal it while it stands; else it is
    looked at until it is undone, and one that does not hold has escaped (faults/looks/watch.py).

    Raises ChaosError before anything is broken (NotServed, CannotBreak, NotWhole), or after
    everything of this call was taken back (NotApplied, Unproven after `proof_s` seconds, Stopped).
    UndoFailed instead when it could not be taken back.
    """
    check_served(context)
    instances = _plan(
        context,
        [(as_one or component.name, component) for component in components],
        mode,
        dict(params or {}),
    )
    entries = [entry for instance in instances for entry in instance.entries]
    try:
        with context.lock:
            # Under the lock that undoing takes: a stop either finds the intents, or nothing is
            # broken any more.
            if context.stopping.is_set():
                raise Stopped("the run is being stopped; nothing was injected")
            context.ledger.intend(entries)
            requested_ns = time.monotonic_ns()
            told: dict[str, Any] = {"heals": True} if heals else {}
            # How hard it was broken: who plays the run again has to know. A folder's path is ours.
            if said := {name: one for name, one in (params or {}).items() if name != "folder"}:
                told["params"] = said
            _say(context, Event.FAULT_REQUESTED, instances, mode, at_ns=requested_ns, **told)
            _apply(entries, context.stopping)
            acknowledged_ns = time.monotonic_ns()
            context.ledger.applied(entries)
            _say(context, Event.FAULT_ACKNOWLEDGED, instances, mode, at_ns=acknowledged_ns)
        rows = _prove(context, instances, mode, proof_s, (requested_ns, acknowledged_ns))
        context.watch.begin(entries, time.monotonic_ns())
        return rows
    except Exception:  # also one nobody thought of: what was begun is taken back
        undo_entries(context, entries)
        raise


def _plan(
    context: Context, wanted: Sequence[tuple[str, Component]], mode: str, params: dict[str, Any]
) -> list[_Instance]:
    """Look at everything and change nothing. `wanted`: the name of the fault each component belongs
    to.
    """
    batch = secrets.token_hex(4)
    tokens = {name: secrets.token_hex(4) for name, _ in wanted}
    # Two regions that both lose their links share those between them: each is broken, and undone,
    # once.
    unique: dict[tuple[str, str], tuple[str, Part]] = {}
    for name, component in wanted:
        for part in parts_of(context.target, component, mode):
            unique.setdefault((part.component.name, part.mode), (name, part))

    exposed = _exposures(context, unique.values())

    def draft(item: tuple[str, Part]) -> Entry:
        name, part = item
        identity = secrets.token_hex(4)
        backend = backends.get(part.component.backend)
        request = FaultRequest(
            part=part.component,
            mode=part.mode,
            params=backends.parameters(part.component, part.mode, params),
            token=identity,
            target=context.target,
        )
        return Entry(
            id=identity,
            instance=tokens[name],
            batch=batch,
            fault=context.fault,
            component=name,
            asked=mode,
            part=part.component,
            mode=part.mode,
            record=backend.plan(request),
        )

    entries = in_parallel(draft, list(unique.values()))
    found = [
        _Instance(token, name, tuple(e for e in entries if e.instance == token), exposed.get(name))
        for name, token in tokens.items()
    ]
    # A link chosen beside the region that loses it anyway has nothing of its own left to break,
    # prove or undo.
    return [instance for instance in found if instance.entries]


def _exposures(context: Context, wanted: Iterable[tuple[str, Part]]) -> dict[str, Exposure]:
    """What each fault's parts carry, looked at before any of them is asked anything. More load is
    no broken part.
    """
    groups: dict[str, list[Component]] = {}
    for name, part in wanted:
        if part.mode != SURGE:
            groups.setdefault(name, []).append(part.component)
    return look_at_exposure(groups, stop=context.stopping) if groups else {}


def _apply(entries: Sequence[Entry], stop: threading.Event) -> None:
    def apply(entry: Entry) -> str | None:
        try:
            backends.get(entry.part.backend).apply(entry.part, entry.record, stop)
        except NotApplied as error:
            return str(error)
        return None

    # Processes before links, the reverse of undoing. A region that loses its links first and its
    # processes half a second later is another fault: its databases have told their peers goodbye
    # before they die.
    stages = sorted(
        {backends.get(entry.part.backend).undo_stage for entry in entries}, reverse=True
    )
    problems = []
    for stage in stages:
        together = [
            entry for entry in entries if backends.get(entry.part.backend).undo_stage == stage
        ]
        problems += [problem for problem in in_parallel(apply, together) if problem is not None]
    if problems:
        raise NotApplied("; ".join(problems))


def _prove(
    context: Context,
    instances: Sequence[_Instance],
    mode: str,
    proof_s: float,
    done_ns: tuple[int, int],
) -> list[dict[str, Any]]:
    """See `inject`. `done_ns`: when it was requested, and acknowledged."""

    def prove(entry: Entry) -> tuple[str, bool, str, int]:
        backend = backends.get(entry.part.backend)
        patience_s = proof_patience_s(backend, proof_s)
        seen, at_ns = wait_for(
            lambda: backend.in_effect(entry.part, entry.record), patience_s, stop=context.stopping
        )
        return entry.part.name, seen.seen, seen.saw, at_ns

    looks = dict(
        zip(
            [entry.id for instance in instances for entry in instance.entries],
            in_parallel(prove, [entry for instance in instances for entry in instance.entries]),
            strict=True,
        )
    )
    if context.stopping.is_set():
        raise Stopped("the run was stopped before the effect was proven")
    rows, missing = [], []
    for instance in instances:
        own = [looks[entry.id] for entry in instance.entries]
        unseen = [f"{name}: {saw}" for name, seen, saw, _ in own if not seen]
        proof = [{"component": name, "saw": saw, "at_ns": at_ns} for name, _, saw, at_ns in own]
        if unseen:
            of = [backends.get(entry.part.backend) for entry in instance.entries]
            waited_s = max(proof_patience_s(backend, proof_s) for backend in of)
            why = f"not seen within {waited_s:g} s: " + "; ".join(unseen)
            _say(context, Event.FAULT_UNPROVEN, [instance], mode, why=why)
            missing.append(f"{instance.name} ({mode}): {why}")
            continue
        observed_ns = max((at_ns for *_, at_ns in own), default=done_ns[0])
        called = {
            name
            for entry in instance.entries
            for name in backends.get(entry.part.backend).called(entry.part, entry.record)
        }
        if (saw := users_saw(context, called, *done_ns)) is not None:
            proof.append({"component": "users", "saw": saw, "at_ns": time.monotonic_ns()})
        _say(context, Event.FAULT_OBSERVED, [instance], mode, at_ns=observed_ns, proof=proof)
        rows.append(
            {
                "component": instance.name,
                "mode": mode,
                "id": instance.id,
                "parts": [entry.part.name for entry in instance.entries],
                "observed_after_ms": round((observed_ns - done_ns[0]) / 1e6, 1),
                "proof": proof,
            }
        )
    if missing:
        raise Unproven("; ".join(missing))
    return rows


def proof_patience_s(backend: Backend, proof_s: float) -> float:
    """How long to wait for the proof: what takes a platform minutes is waited for, unless the
    action says how long.
    """
    return max(proof_s, backend.proof_s) if proof_s == PROOF_S else proof_s


def _say(
    context: Context, event: Event, instances: Sequence[_Instance], mode: str, **more: Any
) -> None:
    for instance in instances:
        row: dict[str, Any] = {
            "fault": context.fault,
            "component": instance.name,
            "mode": mode,
            "id": instance.id,
            **more,
        }
        if event is Event.FAULT_REQUESTED:
            row["parts"] = [entry.part.name for entry in instance.entries]
            if instance.exposure is not None:
                row["exposure"] = instance.exposure.to_json()
        context.timeline.write(event, **row)


def in_parallel(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` over all items at once, results in order. The first error is raised, after all have
    ended.
    """
    if len(items) <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(_THREADS, len(items))) as pool:
        return [task.result() for task in [pool.submit(work, item) for item in items]]
