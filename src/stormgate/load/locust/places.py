"""Which population a plain Locust user belongs to, and where that population sends its requests."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.load.locust.settings import DEFAULT_POPULATION
from stormgate.load.schedule.shares import Dealer
from stormgate.model import Population


class Places:
    """Deals a plan's populations to users by share; without a plan everybody is of one that has no
    address of its own. Such users know no order of edges: each dials its population's first one.
    """

    def __init__(
        self, populations: Sequence[Population] = (), *, index: int = 0, count: int = 1
    ) -> None:
        self.populations = tuple(populations)
        self._by_name = {population.name: population for population in populations}
        self._index, self._count = index, max(count, index + 1)
        self._dealers: dict[type, Dealer] = {}
        self._names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._dressed: weakref.WeakSet[Any] = weakref.WeakSet()

    def give(self, user: Any) -> None:
        """A population for a new user, and its link as the user's host."""
        if not self.populations:
            return
        cls = type(user)
        dealer = self._dealers.get(cls)
        if dealer is None:
            shares = {population.name: population.share for population in self.populations}
            dealer = self._dealers[cls] = Dealer(shares, index=self._index, count=self._count)
        position, name = dealer.take()
        self._names[user] = name
        weakref.finalize(user, dealer.give_back, position).atexit = False
        link = first_link(self._by_name[name])
        if link is not None:
            user.host = link

    def of(self, user: Any) -> str:
        """The name of a user's population."""
        if user is None or not self.populations:
            return DEFAULT_POPULATION
        return self._names.get(user, DEFAULT_POPULATION)

    def dress(self, session: Any) -> None:
        """Give a client the headers of its user's population, once."""
        user = getattr(session, "user", None)
        if user is None or session in self._dressed or user not in self._names:
            return
        self._dressed.add(session)
        headers: Mapping[str, str] = self._by_name[self._names[user]].headers
        for owner in (session, getattr(session, "client", None)):
            kept = getattr(owner, "headers", None) or getattr(owner, "default_headers", None)
            if kept is not None and headers:
                kept.update(headers)
                return


def first_link(population: Population) -> str | None:
    """Where a population's users go first, or None when no edge of theirs has a link."""
    return next((population.links[e] for e in population.edges if e in population.links), None)
