"""How Locust splits users over user classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from locust.dispatch import UsersDispatcher
from locust.runners import WorkerNode


def counts(classes: Sequence[Any], users: int) -> dict[str, int]:
    """How many users of each class Locust's own dispatcher makes of so many."""
    if not classes or users < 1:
        return {}
    dispatcher = UsersDispatcher(worker_nodes=[WorkerNode("one")], user_classes=list(classes))
    dispatcher.new_dispatch(users, spawn_rate=users)
    made: dict[str, int] = {}
    for step in dispatcher:
        made = dict(next(iter(step.values())))
    return made
