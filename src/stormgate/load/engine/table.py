"""Steering tables: which edges each population is sent to, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.load.engine.pool import Pool, Pools


def parse_table(body: bytes) -> tuple[Any, dict[str, tuple[str, ...]]]:
    """Version and orders of a steering table. Raises ValueError when it is not `{"version",
    "populations": {name: [edge]}}`.
    """
    data = json.loads(body)
    if not isinstance(data, dict) or not isinstance(data.get("populations"), dict):
        raise ValueError("a steering table is {version, populations: {name: [edge, ...]}}")
    orders = {}
    for name, edges in data["populations"].items():
        if not isinstance(edges, list) or not all(isinstance(edge, str) for edge in edges):
            raise ValueError(f"the edges of population {name!r} are not a list of names")
        orders[str(name)] = tuple(edges)
    return data.get("version"), orders


def steer(
    places: Mapping[str, Pools], orders: Mapping[str, Sequence[str]]
) -> tuple[dict[str, str], list[Pool]]:
    """Apply a table: what changed ({population: first edge}) and the pools that were left."""
    moved: dict[str, str] = {}
    left: list[Pool] = []
    for name, order in orders.items():
        place = places.get(name)
        if place is None:
            continue
        before = place.current.edge
        pool = place.steer(order)
        if pool is not None:
            left.append(pool)
        if place.current.edge != before:
            moved[name] = place.current.edge
    return moved, left
