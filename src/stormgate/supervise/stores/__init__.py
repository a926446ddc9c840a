"""Asking stores themselves, past the users' way: what they hold of some keys, and whether some
words are in them. One file per reader; each is bounded in time, contacts only what `allow` lists,
and changes nothing.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stormgate.model import Store
from stormgate.net.allow import AllowList, NotAllowedError
from stormgate.net.deadline import Deadline, resolve
from stormgate.net.references import resolved

FAIL, INFO = "fail", "info"


class UnreadableError(Exception):
    """Why a store could not be read or looked through, in one line without a credential. `outcome`:
    `fail` (it said no, nobody is there), or `info` (it did not answer in time).
    """

    def __init__(self, why: str, outcome: str = FAIL) -> None:
        super().__init__(" ".join(why.split())[:300])
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class KeyRead:
    """What a store held of a key: numbers (versions, or a value), none where it has nothing. What
    came in one answer has one `answer`. With `error` it could not be read.
    """

    key: str
    values: tuple[int, ...]
    invoked_ns: int
    completed_ns: int
    answer: int = 0
    error: str | None = None
    outcome: str = "ok"


@dataclass(frozen=True, slots=True)
class Looked:
    """`searched`: how much was looked through (rows, keys, bytes); `found`: where, by what was
    found; `control`: whether what is surely there was found, None where nobody said what that is.
    """

    searched: int
    found: Mapping[str, str] = field(default_factory=dict)
    control: bool | None = None


class StoreReader:
    """How one kind of store is asked. The defaults are those of one that cannot be. `at_once`: all
    keys in a few answers, so that there is no need to draw some of them.
    """

    at_once = True

    def __init__(self, store: Store, allow: AllowList, environment: Mapping[str, str]) -> None:
        self.store = store
        self.allow = allow
        self.environment = environment

    def reads(self) -> bool:
        """Whether the store takes part in the final read."""
        return False

    def looks(self) -> bool:
        """Whether the store can be looked through."""
        return False

    def read(self, keys: Sequence[str], deadline: Deadline) -> Iterator[KeyRead]:
        """Each key once. Raises UnreadableError, OSError; what was given before counts."""
        raise UnreadableError(f"{self.store.reader} cannot be read by key")

    def look(self, canaries: Sequence[str], deadline: Deadline) -> Looked:
        """Look through all of it for each of the canaries. Raises UnreadableError, OSError when not
        all of it could be.
        """
        raise UnreadableError(f"{self.store.reader} cannot be looked through")

    def filled(self, text: str) -> str:
        """A text of the store with its references filled in. Raises UnreadableError."""
        try:
            return resolved(text, self.environment)
        except KeyError as error:
            raise UnreadableError(f"it refers to ${{{error.args[0]}}}, which is not set") from None

    def endpoint(self, deadline: Deadline) -> tuple[str, str, int]:
        """(host, the address of it that may be contacted, port). Raises UnreadableError,
        OSError.
        """
        host, _, port = self.filled(self.store.address).rpartition(":")
        host = host.strip("[]")
        try:
            found = self.allow.choose(host, resolve(host, int(port), deadline))
        except (NotAllowedError, ValueError) as error:
            raise UnreadableError(str(error)) from None
        return host, str(found[0][1][0]), int(port)


def batch(
    found: Mapping[str, Sequence[int]], keys: Sequence[str], began_ns: int
) -> Iterator[KeyRead]:
    """What one answer said of many keys."""
    ended_ns = time.monotonic_ns()
    for key in keys:
        yield KeyRead(key, tuple(found.get(key, ())), began_ns, ended_ns, answer=began_ns)


def reader_of(store: Store, allow: AllowList, environment: Mapping[str, str]) -> StoreReader:
    """The reader of a store: the class `Reader` of the module of its name."""
    module = importlib.import_module(f"{__name__}.{store.reader}")
    made: StoreReader = module.READER(store, allow, environment)
    return made
