"""What this machine has to have for a run: secrets, room, file descriptors, a place for state."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from stormgate.faults import restore
from stormgate.faults.declared import CheckRow
from stormgate.faults.state import HOW_TO_KEEP_STATE, require_writable
from stormgate.model import Plan
from stormgate.net.references import references, unset_references
from stormgate.supervise.preflight import fixed_s
from stormgate.system.limits import open_files, too_few_open_files

FEWEST_FILES = 256  # what a gate's load workers need (load/locust/worker.py)
# What a request leaves behind at most: its row, and its part of the sealed copies and the report.
_BYTES_A_REQUEST = 200
_ROOM_BYTES = 50_000_000
_FAULT_S = 30.0


def rows(plan: Plan, reports: Path) -> Iterator[CheckRow]:
    """Each thing that this machine must have."""
    yield _secrets(plan)
    yield _room(plan, reports)
    files = open_files()
    trouble = too_few_open_files(files, FEWEST_FILES, "a gate")
    saw = trouble or f"{files:,} at once"
    yield CheckRow("open files", not trouble, saw, "ulimit -n 65536")
    yield from _state(plan)


def _secrets(plan: Plan) -> CheckRow:
    unset = unset_references(plan.target, os.environ)
    if unset:
        names = ", ".join(unset)
        saw = f"the target refers to variables that are not set: {names}"
        return CheckRow("secrets", False, saw, f"export {' '.join(f'{n}=...' for n in unset)}")
    count = len(references(plan.target))
    return CheckRow("secrets", True, f"{count} set" if count else "the target refers to none")


def _room(plan: Plan, reports: Path) -> CheckRow:
    folder = reports.absolute()
    while not folder.exists():
        folder = folder.parent
    seconds = fixed_s(plan) + _FAULT_S * len(plan.faults)
    needed = _ROOM_BYTES + int(seconds * plan.load.rate_per_s) * _BYTES_A_REQUEST
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return CheckRow("disk", False, f"{folder}: {error.strerror}", "choose another --reports")
    saw = f"{free / 1e6:,.0f} MB free at {folder}, {needed / 1e6:,.0f} MB may be needed"
    if not os.access(folder, os.W_OK | os.X_OK):
        saw, free = f"{folder} may not be written", 0
    return CheckRow("disk", free >= needed, saw, "make room, or choose another --reports")


def _state(plan: Plan) -> Iterator[CheckRow]:
    """What is broken can be remembered, and nothing still is."""
    try:
        folder = require_writable()
        ledgers = restore.open_ledgers(plan.target.name) if plan.target.provision is None else []
    except OSError as error:
        yield CheckRow("state", False, f"what is broken could not be remembered: {error}",
                       HOW_TO_KEEP_STATE)  # fmt: skip
        return
    for ledger in ledgers:
        broken = ledger.lost or f"{', '.join(ledger.open)} of {ledger.folder}"
        fix = "stormgate restore" if ledger.lost else f"stormgate restore {ledger.folder}"
        yield CheckRow("state", False, f"the target still carries faults: {broken}", fix)
    if not ledgers:
        yield CheckRow("state", True, f"nothing is left broken by a run of ours ({folder})")
