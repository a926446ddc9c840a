"""A name's addresses, and the order in which one connection tries them (RFC 8305). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from stormgate.model import Outcome

Address = tuple[int, Any]  # family, socket address
ATTEMPT_DELAY_NS = 250_000_000  # RFC 8305, 5: how long one address is waited for alone


class Addresses:
    """All that a name resolved to. Each connection begins with another one, as users whose
    resolvers rotate the answers do, so that load is spread over all.
    """

    __slots__ = ("_turn", "all")

    def __init__(self, found: Iterable[Address] = ()) -> None:
        families: dict[int, list[Address]] = {}
        for address in dict.fromkeys(found):
            families.setdefault(address[0], []).append(address)
        # Families by turns, so that one that leads nowhere is followed by the other (RFC 8305, 4).
        self.all = tuple(
            address
            for turn in zip_longest(*families.values())
            for address in turn
            if address is not None
        )
        self._turn = 0

    def __bool__(self) -> bool:
        return bool(self.all)

    def __eq__(self, other: object) -> bool:
        """Whether they are the same addresses; answers come in any order."""
        return isinstance(other, Addresses) and set(self.all) == set(other.all)

    def __hash__(self) -> int:
        return hash(frozenset(self.all))

    def __str__(self) -> str:
        return ", ".join(spelt(address) for address in self.all)

    def order(self) -> list[Address]:
        """The addresses as the next connection tries them. Who comes after a dead first one takes
        turns, too.
        """
        count = len(self.all)
        if count < 2:
            return list(self.all)
        rounds, first = divmod(self._turn, count)
        self._turn += 1
        others = self.all[first + 1 :] + self.all[:first]
        begin = rounds % len(others)
        return [self.all[first], *others[begin:], *others[:begin]]


class Race:
    """One request's way to a connection when there are several addresses."""

    __slots__ = ("delay_ns", "outcome", "rest", "running", "since_ns")

    def __init__(self, rest: list[Address], connect_timeout_ns: int) -> None:
        self.rest = rest
        self.running: list[Any] = []  # connections under way
        self.since_ns = 0  # when the last one was begun
        # All have to have their turn within the deadline.
        self.delay_ns = min(ATTEMPT_DELAY_NS, connect_timeout_ns // (len(rest) + 1))
        self.outcome = Outcome.NOT_SENT

    def lost(self, outcome: Outcome) -> Outcome:
        """One address led nowhere; how the request ends if none does: what a target did says more
        than what this machine could not do.
        """
        if self.outcome is Outcome.NOT_SENT:
            self.outcome = outcome
        return self.outcome

    def waits_too_long(self, now_ns: int) -> bool:
        """Whether it is time to try the next address beside those under way."""
        return bool(self.rest) and now_ns - self.since_ns > self.delay_ns


def spelt(address: Address) -> str:
    """An address as people write it."""
    host, port = str(address[1][0]), address[1][1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
