"""An operation in words: whose it was, when, and by whom it was answered."""

from __future__ import annotations

from typing import Any

from stormgate.evidence.operations import NOTHING, History
from stormgate.judge.histories.data import Data
from stormgate.model import Cell, Verdict


def version_told(version: int) -> str:
    """`version 3`, or `nothing`."""
    return "nothing" if version == NOTHING else f"version {version}"


def op_told(data: Data, history: History, row: int) -> str:
    """`w0/3, acknowledged by eu at 40.010 s`: who asked, and whose answer came when."""
    names = history.names
    by = names.shown("session", int(history.session[row])) or "the final read"
    place = names.shown("region", int(history.region[row]))
    place = place or names.shown("store", int(history.store[row]))
    served = f" by {place}" if place else ""
    return f"{by}, answered{served} at {data.seconds(int(history.completed_ns[row])):.3f} s"


def op_detail(data: Data, history: History, row: int) -> dict[str, Any]:
    """The same as fields, for verdict.json."""
    names = history.names
    version = int(history.version[row])
    return {
        "key": names.keys.names[int(history.key[row])],
        "version": None if version == NOTHING else version,
        "session": names.shown("session", int(history.session[row])),
        "population": names.shown("population", int(history.population[row])),
        "region": names.shown("region", int(history.region[row])),
        "shard": names.shown("shard", int(history.shard[row])),
        "invoked_s": round(data.seconds(int(history.invoked_ns[row])), 6),
        "completed_s": round(data.seconds(int(history.completed_ns[row])), 6),
    }


def wrong_cell(name: str, why: str, **detail: Any) -> Cell:
    """One proof of a violation."""
    return Cell(name=name, verdict=Verdict.FAIL, samples=1, why=why, detail=detail)
