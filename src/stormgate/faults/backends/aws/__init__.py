"""Break what runs on AWS, by its own API: one file per family, chosen by the handle's `service`.

boto3 comes with the extra `stormgate[aws]` and is imported when something is asked of AWS, never
before. Everything that is sent goes to the handle's `endpointUrl`, or to AWS's hosts of the
component's region, which must be in the target's `allow`; account and region must be listed in its
`attributes`. docs/aws.md has the tables.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from stormgate.faults.backends import Backend, FaultRequest, Observation, Record
from stormgate.faults.backends.aws import lock, marks
from stormgate.faults.backends.aws.arc import Arc
from stormgate.faults.backends.aws.asg import Asg
from stormgate.faults.backends.aws.ec2 import Ec2
from stormgate.faults.backends.aws.elasticache import CacheFailover, Elasticache
from stormgate.faults.backends.aws.elb import Elb
from stormgate.faults.backends.aws.family import Family, Wanted
from stormgate.faults.backends.aws.fis import Fis
from stormgate.faults.backends.aws.functions import Functions
from stormgate.faults.backends.aws.handle import AwsHandle, hosts, listed
from stormgate.faults.backends.aws.nacl import Nacl
from stormgate.faults.backends.aws.preflight import policies, rows
from stormgate.faults.backends.aws.rds import Rds, RdsFailover
from stormgate.faults.backends.aws.route53 import Route53
from stormgate.faults.backends.aws.security_group import SecurityGroup
from stormgate.faults.backends.aws.session import AwsError, Place, on_this_machine
from stormgate.faults.backends.aws.tags import Ec2Tags
from stormgate.faults.declared import CheckRow, Parameters
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed
from stormgate.model import Component, Observe, Target
from stormgate.net.look import State, look

Marked = tuple[str, Mapping[str, Any]]
_BEFORE_S = 3.0
_SILENCE_S = 1.0
_GONE_S = 0.5

FAMILIES: Mapping[str, Family] = {
    family.service: family
    for family in (
        Ec2(),
        Asg(),
        Nacl(),
        SecurityGroup(),
        Rds(),
        Elasticache(),
        Elb(),
        Functions(),
        Route53(),
        Arc(),
        Fis(),
    )
}


class AnyFailover(RdsFailover, CacheFailover):
    """What a failover may be told, where it is not known yet of what."""


class AwsBackend(Backend):
    """See the module."""

    handle = AwsHandle
    modes: ClassVar[Mapping[str, type[Parameters]]] = {
        **{mode: model for one in FAMILIES.values() for mode, model in one.modes.items()},
        "failover": AnyFailover,
    }
    undo_stage = 1
    # An instance takes most of a minute to stop or start, a database's failover one or two.
    proof_s = 120.0
    undo_s = 240.0
    refuses: ClassVar[Mapping[str, str]] = {
        "freeze": "no call of AWS stops a host and keeps it alive; crash is nearest, or a template "
        "of the Fault Injection Service (service fis, mode run)",
        "refuse": "access lists and security groups drop without a word: blackhole",
        **dict.fromkeys(
            ("slow", "lossy", "bandwidth"),
            "no call of AWS delays or loses packets; a template of the Fault Injection Service "
            "does (service fis, mode run), or a link of backend toxiproxy",
        ),
    }

    def modes_of(self, handle: Mapping[str, Any]) -> Mapping[str, type[Parameters]]:
        family = FAMILIES.get(str(handle.get("service")))
        return family.modes if family is not None else self.modes

    def hosts(self, handle: Mapping[str, Any]) -> tuple[str, ...]:
        family = FAMILIES.get(str(handle.get("service")))
        return hosts(handle, (*family.clients, *lock.CLIENTS)) if family is not None else ()

    def are_gone(self, parts: Sequence[Component]) -> bool:
        """Only what stood behind an API on this machine can be gone with it: AWS itself may be out
        of reach, and is there.
        """
        urls = {str(part.handle.get("endpoint_url") or "") for part in parts}
        ends = [Observe(protocol="tcp", address=urlsplit(url).netloc) for url in urls]
        if not all(on_this_machine(urlsplit(url).hostname or "") for url in urls):
            return False
        ends += [part.observe for part in parts if part.observe is not None]
        return all(look(end, _GONE_S).state is State.REFUSED for end in ends)

    def check(self, part: Component, modes: Collection[str], target: Target) -> Sequence[CheckRow]:
        try:
            listed_in(part, target)
        except CannotBreak as error:
            return [CheckRow("account", False, str(error), "list it, or correct the handle")]
        family = FAMILIES[str(part.handle["service"])]
        return rows(part, family, [mode for mode in modes if mode in family.modes], target)

    def permissions(self, wanted: Sequence[tuple[Component, Collection[str]]]) -> str:
        return policies(
            (part, FAMILIES[str(part.handle["service"])]) for part, modes in wanted if modes
        )

    def left(self, target: Target) -> Iterator[tuple[Component, Record, str | None]]:
        parts = _own(target)
        for part in parts:
            listed_in(part, target)
        own = [(FAMILIES[str(part.handle["service"])], Place.of(part.handle)) for part in parts]
        # EC2's own are looked through by region, the others thing by thing.
        for place in dict.fromkeys(at for one, at in own if isinstance(one.tags, Ec2Tags)):
            yield from _left(place, marks.found)
        looked: set[tuple[Place, str]] = set()
        for part, (family, place) in zip(parts, own, strict=True):
            if family.tags is None or isinstance(family.tags, Ec2Tags):
                continue
            things = [one for one in _things(family, place, part) if (place, one) not in looked]
            looked |= {(place, one) for one in things}
            yield from _left(place, functools.partial(_found_on, family, things))
        alone = {one.service for one, _ in own if one.tags is None and not one.is_over}
        if alone:
            raise CannotBreak(
                f"what a run has broken of {', '.join(sorted(alone))} stands in its ledger "
                "alone, so nobody can tell here: stormgate restore FOLDER"
            )

    def plan(self, request: FaultRequest) -> Record:
        part = request.part
        family = FAMILIES[str(part.handle["service"])]
        listed_in(part, request.target)
        wanted = Wanted(
            part.name,
            Place.of(part.handle),
            part.handle,
            request.mode,
            request.params,
            request.token,
        )
        try:
            record = {**family.plan(wanted), "token": request.token}
            _refuse_marked(family, wanted, record)
            lock.hold(wanted.place, request.token)
        except AwsError as error:
            raise CannotBreak(f"{part.name}: {error}") from error
        if part.observe is not None and request.mode in family.silent:
            before = look(part.observe, _BEFORE_S)
            if not before.healthy:
                raise NotWhole(
                    f"{part.name}: before the fault it was already {before} at "
                    f"{part.observe.address}"
                )
        return record

    def apply(self, part: Component, record: Record, stop: threading.Event) -> None:
        family, place = _of(part)
        try:
            thing = family.marked(record)
            if thing is not None and family.tags is not None:
                marks.put(place, family.tags, thing, family.service, record)
            family.apply(place, record, stop)
        except AwsError as error:
            raise NotApplied(f"{part.name}: {error}") from error

    def undo(self, part: Component, record: Record, timeout_s: float) -> None:
        family, place = _of(part)
        try:
            family.undo(place, record, timeout_s)
        except AwsError as error:
            raise UndoFailed(f"{part.name}: {error}{_by_hand(family, place, record)}") from error

    def in_effect(self, part: Component, record: Record) -> Observation:
        family, place = _of(part)
        try:
            told = family.in_effect(place, record)
        except AwsError as error:
            return Observation(False, str(error))
        if not told.seen or part.observe is None or record["mode"] not in family.silent:
            return told
        # A host that lost its power, or its network, says nothing; one on loopback refuses.
        now = look(part.observe, _SILENCE_S)
        seen = now.state in {State.REFUSED, State.SILENT}
        return Observation(seen, f"{part.observe.address} {now}; {told.saw}")

    def is_whole(self, part: Component, record: Record) -> Observation:
        family, place = _of(part)
        try:
            told = family.is_whole(place, record)
        except AwsError as error:
            return Observation(False, f"{error}{_by_hand(family, place, record)}")
        if not told.seen:
            return Observation(False, f"{told.saw}{_by_hand(family, place, record)}")
        if part.observe is not None:
            now = look(part.observe, _SILENCE_S)
            told = Observation(now.healthy, f"{part.observe.address} {now}; {told.saw}")
        if told.seen:
            told = _unmarked(family, place, record, told)
        if told.seen:
            lock.let_go(place, str(record.get("token")))
        return told


def listed_in(part: Component, target: Target) -> None:
    """That the target lists the component's account and region. Raises CannotBreak."""
    for key, attribute in (("account", "awsAccounts"), ("region", "awsRegions")):
        value, known = str(part.handle[key]), listed(target.attributes.get(attribute))
        if value not in known:
            raise CannotBreak(
                f"{part.name}: {key} {value} is not in the target's attributes: {attribute} "
                f"({', '.join(known) or 'none'}): nothing was asked of AWS"
            )


def _of(part: Component) -> tuple[Family, Place]:
    return FAMILIES[str(part.handle["service"])], Place.of(part.handle)


def _refuse_marked(family: Family, wanted: Wanted, record: Record) -> None:
    """Raises NotWhole for what another run's fault is written on, AwsError."""
    thing, store = family.marked(record), family.tags
    others = set() if thing is None or store is None else marks.tokens(wanted.place, store, thing)
    if others:
        raise NotWhole(
            f"{wanted.name}: {thing} is marked as broken by fault {', '.join(sorted(others))}: "
            "wait for its run, or: stormgate restore --cluster --target ..."
        )


def _unmarked(family: Family, place: Place, record: Record, told: Observation) -> Observation:
    """What is whole loses its mark; one that stays is something that is left."""
    thing, store = family.marked(record), family.tags
    try:
        if thing is not None and store is not None and "token" in record:
            marks.take(place, store, thing, str(record["token"]))
    except AwsError as error:
        return Observation(False, f"{told.saw}; its mark is left on {thing}: {error}")
    return told


def _things(family: Family, place: Place, part: Component) -> Sequence[str]:
    try:
        return family.things(place, part.handle)
    except AwsError as error:
        raise CannotBreak(str(error)) from None


def _found_on(family: Family, things: Sequence[str], place: Place) -> Iterator[Marked]:
    return marks.found_on(place, family.tags, things) if family.tags is not None else iter(())


def _left(
    place: Place, found: Callable[[Place], Iterator[Marked]]
) -> Iterator[tuple[Component, Record, str | None]]:
    """What is marked, and who, still alive, has marked it. Raises CannotBreak."""
    try:
        for thing, about in list(found(place)):
            record = {**about["record"], "run": about.get("run")}
            holder = marks.holder(about)
            # Of another machine the lease knows whether somebody still renews it.
            if holder is not None and marks.is_leased_elsewhere(about):
                holder = lock.living_holder(place)
            yield _found(place, str(about["service"]), thing), record, holder
    except AwsError as error:
        raise CannotBreak(str(error)) from None


def _own(target: Target) -> list[Component]:
    return [part for part in target.components if part.backend == "aws"]


def _found(place: Place, service: str, thing: str) -> Component:
    """A component for what is marked, whichever the target's documents have today."""
    if service not in FAMILIES:
        raise ValueError(f"{thing}: an undo mark of an unknown service {service!r}")
    handle: dict[str, Any] = {
        "service": service,
        "account": place.account,
        "region": place.region,
        "ids": [thing],
        "profile": place.profile,
        "endpoint_url": place.endpoint_url,
        "zone": None,
        "tags": {},
    }
    name = f"{service} {thing}"
    return Component(name=name, kind="found", backend="aws", handle=handle)


def _by_hand(family: Family, place: Place, record: Record) -> str:
    lines = family.by_hand(place, record)
    return f"; by hand: {' && '.join(lines)}" if lines else ""


BACKEND = AwsBackend()
