"""A component made of others, such as a region: it breaks through its `parts`, never by itself."""

from __future__ import annotations

from collections.abc import Sequence

from stormgate.faults.backends import Backend, FaultRequest, Record
from stormgate.faults.errors import CannotBreak
from stormgate.model import Component


class GroupBackend(Backend):
    """Its handle is empty; what breaking it means stands in stormgate.faults.expansion."""

    of_parts = True

    def are_gone(self, parts: Sequence[Component]) -> bool:
        return True  # it has nothing of its own that could be left

    def plan(self, request: FaultRequest) -> Record:
        raise CannotBreak(f"{request.part.name}: a group breaks through its parts")


BACKEND = GroupBackend()
