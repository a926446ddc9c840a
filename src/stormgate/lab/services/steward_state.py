"""What the steward has decided of each shard, on disk: written before it is acted upon, read
whenever a database starts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from stormgate.lab.design.failover import ShardState


def load(path: Path) -> dict[str, ShardState]:
    """What was decided last, by shard."""
    return {name: ShardState(**entry) for name, entry in json.loads(path.read_text()).items()}


def save(path: Path, states: Mapping[str, ShardState]) -> None:
    """Atomically: a reader sees the old or the new."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({name: asdict(state) for name, state in states.items()}))
    os.replace(fresh, path)
