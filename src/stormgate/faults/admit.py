"""What of a ledger may be played: whose it is, what it would run, whom it would contact, and with
which commands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stormgate.faults import ledger, trust
from stormgate.faults.context import hosts
from stormgate.faults.errors import CannotBreak, NoTarget
from stormgate.faults.ledger import Entry
from stormgate.faults.pointers import remembered_allow
from stormgate.model import Target
from stormgate.net.allow import AllowList
from stormgate.net.references import resolved

_LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class Review:
    """A ledger looked at, and nothing done: why it is not this user's own from this machine (None:
    it is), and what undoing it would run or contact, one line each.
    """

    doubt: str | None
    commands: tuple[str, ...]


def review(folder: Path) -> Review:
    """See Review. Raises ValueError when the ledger cannot be read."""
    lines = [
        line
        for entry in ledger.open_entries(folder)
        for line in trust.commands(
            entry.part.name, entry.part.backend, entry.part.handle, entry.mode
        )
    ]
    return Review(ledger.doubt(folder), tuple(lines))


def admitted(
    entries: Sequence[Entry], target: Target, *, own: bool, present: Target | None
) -> tuple[list[Entry], Target]:
    """The entries and the target as they may be played. `own`: the ledger is this user's, from this
    machine. `present` is the target as its document says today, whose commands and addresses then
    stand for those of the ledger.

    Raises NoTarget naming every address that may not be contacted: by the ledger's own `allow`, and
    for somebody else's also by what this machine remembers of the target (nothing: only this
    machine itself).
    """
    if present is not None:
        entries = [_as_today(entry, present) for entry in entries]
        target, allows = present, [present.allow]
    elif own:
        allows = [target.allow]
    else:
        known = remembered_allow(target.name)
        allows = [target.allow, _LOOPBACK if known is None else known]
        target = replace(target, allow=allows[1])
    contacted = set(_contacted(entries, target))
    for allow in allows:
        strangers = sorted(host for host in contacted if not AllowList(allow).permits_host(host))
        if strangers:
            whose = (
                ""
                if own or present is not None
                else (
                    "; the ledger is not this user's own, and what this machine remembers of the "
                    "target counts: --target TARGET names it anew"
                )
            )
            raise NoTarget(
                f"target {target.name!r} does not allow {', '.join(strangers)} (allow: "
                f"{', '.join(allow)}){whose}"
            )
    return list(entries), target


def _as_today(entry: Entry, present: Target) -> Entry:
    """The entry with today's commands. Raises NoTarget when the target has no such component."""
    part = next((each for each in present.components if each.name == entry.part.name), None)
    if part is None:
        if not entry.part.handle:
            return entry  # made for the fault alone, such as a surge of load
        raise NoTarget(f"target {present.name!r} has no component {entry.part.name!r} any more")
    if part.backend != entry.part.backend:
        raise NoTarget(
            f"{part.name} was broken by {entry.part.backend!r} and is a {part.backend!r} today: "
            "mend it by hand, then --resolved"
        )
    # What a backend wrote down of its handle goes with the handle.
    shared = entry.record.keys() & part.handle.keys()
    record = {**entry.record, **{name: part.handle[name] for name in shared}}
    return replace(entry, part=part, record=record)


def _contacted(entries: Sequence[Entry], target: Target) -> Iterator[str]:
    for part in (*target.components, *(entry.part for entry in entries)):
        try:
            yield from hosts(part)
        except CannotBreak:  # a backend that this version has not: undoing it will say so
            continue
    for entry in entries:
        yield from _addresses(entry.record)
    if target.status_url is not None:
        yield _host(target.status_url)


def _addresses(value: Any) -> Iterator[str]:
    """The hosts in a backend's record: its `url`s and `address`es, however deep."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if isinstance(one, str) and name in ("url", "direct", "address", "listen"):
                yield _host(one)
            else:
                yield from _addresses(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _addresses(one)


def _host(text: str) -> str:
    """The host of a URL or of host:port, with its references filled in."""
    try:
        text = resolved(text, os.environ)
    except KeyError as error:
        raise NoTarget(f"{text}: ${{{error.args[0]}}} is not set") from error
    try:
        return urlsplit(text if "//" in text else f"//{text}").hostname or text
    except ValueError:
        return text
