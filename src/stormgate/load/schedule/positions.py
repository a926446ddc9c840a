"""Who holds which position of the deal, when several workers share it. Pure."""

from __future__ import annotations

import heapq


class Positions:
    """The positions of each user class and who holds them: each has one owner at a time, and the
    lowest free one goes first, so that N streams are those of positions 0 to N - 1 whoever runs
    them.
    """

    def __init__(self) -> None:
        self._held: dict[str, dict[int, str]] = {}
        self._free: dict[str, list[int]] = {}
        self._next: dict[str, int] = {}

    def held(self, user_class: str) -> int:
        """How many positions of a class are held."""
        return len(self._held.get(user_class, ()))

    def owners(self) -> set[str]:
        return {owner for held in self._held.values() for owner in held.values()}

    def take(self, user_class: str, owner: str) -> int:
        """The lowest free position, which is `owner`'s now."""
        free = self._free.get(user_class)
        if free:
            position = heapq.heappop(free)
        else:
            position = self._next.get(user_class, 0)
            self._next[user_class] = position + 1
        self._held.setdefault(user_class, {})[position] = owner
        return position

    def give_back(self, user_class: str, owner: str, position: int) -> bool:
        """Whether it was the owner's: what is another's, or nobody's, stays so."""
        held = self._held.get(user_class, {})
        if held.get(position) != owner:
            return False
        del held[position]
        heapq.heappush(self._free.setdefault(user_class, []), position)
        return True

    def lost(self, owner: str) -> int:
        """An owner is gone: what it held is free. Returns how many those were."""
        mine = [
            (user_class, position)
            for user_class, held in self._held.items()
            for position, holder in held.items()
            if holder == owner
        ]
        for user_class, position in mine:
            self.give_back(user_class, owner, position)
        return len(mine)
