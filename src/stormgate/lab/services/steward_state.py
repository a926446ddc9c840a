"""What the steward has decided of each shard, on disk: written before it is acted upon, read
whenever a database starts. And which edges it was told to send nobody to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from stormgate.lab.design.failover import ShardState


def load(path: Path) -> dict[str, ShardState]:
    """What was decided last, by shard."""
    return {name: ShardState(**entry) for name, entry in json.loads(path.read_text()).items()}


def save(path: Path, states: Mapping[str, ShardState]) -> None:
    """Atomically: a reader sees the old or the new."""
    _write(path, {name: asdict(state) for name, state in states.items()})


def load_out(path: Path) -> frozenset[str]:
    """The edges that are out of service; none where nobody ever took one out."""
    try:
        return frozenset(json.loads(path.read_text()))
    except FileNotFoundError:
        return frozenset()


def save_out(path: Path, edges: Iterable[str]) -> None:
    """Atomically, too."""
    _write(path, sorted(edges))


def _write(path: Path, data: object) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(data))
    os.replace(fresh, path)
