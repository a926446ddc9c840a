"""What each family of AWS faults offers: one file per family, by the `service` of the handle."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from stormgate.faults.backends import Observation, Params, Record
from stormgate.faults.backends.aws import lock
from stormgate.faults.backends.aws.session import Place
from stormgate.faults.backends.aws.tags import TagStore
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak

# What we make carries this tag, with the token of the fault it is part of.
TAG = "stormgate.dev/fault"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One component to be broken: where, which of its things, how, and under which token."""

    name: str
    place: Place
    handle: Mapping[str, Any]
    mode: str
    params: Params
    token: str

    @property
    def ids(self) -> list[str]:
        """The ids it names; empty where tags choose."""
        return list(self.handle.get("ids") or ())

    @property
    def zone(self) -> str | None:
        """The zone it is limited to."""
        return self.handle.get("zone")

    def filters(self, zone_key: str) -> list[dict[str, Any]]:
        """Its tags and zone, as EC2 takes them."""
        tags = [
            {"Name": f"tag:{key}", "Values": [value]}
            for key, value in (self.handle.get("tags") or {}).items()
        ]
        return tags + ([{"Name": zone_key, "Values": [self.zone]}] if self.zone else [])

    def told(self) -> str:
        """What was asked for, in words."""
        tags = [f"{key}={value}" for key, value in (self.handle.get("tags") or {}).items()]
        what = ", ".join([*self.ids, *tags])
        zone = f" in {self.zone}" if self.zone else ""
        return f"{self.handle['service']} {what}{zone} of {self.place.region}"

    def nothing(self) -> CannotBreak:
        """An empty selection: a fault on nothing would pass everything."""
        return CannotBreak(f"{self.name}: nothing is selected: there is no {self.told()}")


class Family:
    """Calls raise AwsError, which the backend turns into what its caller expects. `plan` raises
    CannotBreak and NotWhole of its own. What `record` holds is all that is needed to undo.
    """

    service: ClassVar[str]
    clients: ClassVar[tuple[str, ...]]
    modes: ClassVar[Mapping[str, type[Parameters]]]
    permissions: ClassVar[tuple[str, ...]]
    cost: ClassVar[str] = "none of its own"
    silent: ClassVar[frozenset[str]] = frozenset()
    """The modes in which the component's `observe` must stop answering as well."""
    tags: ClassVar[TagStore | None] = None
    """Where its records are written on what it breaks, too; None: the ledger alone has them."""
    is_over: ClassVar[bool] = False
    """Whether what it does is over by itself, so that nothing of it can be left."""

    def plan(self, wanted: Wanted) -> Record:
        """Look, change nothing, and return what to write down before anything is changed."""
        raise NotImplementedError

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        """Break it."""
        raise NotImplementedError

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        """Take it back. Idempotent, and right for what was never applied."""
        raise NotImplementedError

    def in_effect(self, place: Place, record: Record) -> Observation:
        """One look by describing."""
        raise NotImplementedError

    def is_whole(self, place: Place, record: Record) -> Observation:
        """One look by describing."""
        raise NotImplementedError

    def marked(self, record: Record) -> str | None:
        """The thing that the record is written on, too, as its tags know it; None where it stands
        in the ledger alone.
        """
        return None

    def things(self, place: Place, handle: Mapping[str, Any]) -> Sequence[str]:
        """All that a component's records may be written on; one that is gone need not be among
        them. Not for EC2's own, whose tags are looked through by region.
        """
        return [str(one) for one in handle.get("ids") or ()]

    @classmethod
    def actions(cls) -> tuple[str, ...]:
        """All that has to be allowed: its own calls, those of its tags, and those of the lease."""
        own = (*cls.permissions, *(cls.tags.permissions if cls.tags else ()), *lock.PERMISSIONS)
        return tuple(dict.fromkeys(own))

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        """The commands that take it back, for a person."""
        return ()


def words(values: Sequence[str], most: int = 4) -> str:
    """A list for one line."""
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(values[:most]) + more
