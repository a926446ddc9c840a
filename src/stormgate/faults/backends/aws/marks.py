"""What a fault keeps, written on the very thing it breaks, too: in tags, where its service has some
(tags.py), so that it can be taken back when the ledger is lost with its machine.

A tag holds 256 characters: the record is packed and cut in pieces, and is whole only with all of
them. Tags are no lock: whether a run on another machine is alive, its lease says (lock.py).
"""

from __future__ import annotations

import base64
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stormgate.faults.backends import Record
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.backends.aws.tags import Ec2Tags, TagStore
from stormgate.faults.state import Fate, ProcessOwner

UNDO = "stormgate.dev/undo-"
_PIECE = 240
_KEY = re.compile(rf"^{re.escape(UNDO)}([0-9A-Za-z]+)-([0-9]+)of([0-9]+)$")
_MOST_BYTES = 1 << 20


def put(place: Place, store: TagStore, thing: str, service: str, record: Record) -> None:
    """Write the record on `thing` before it is broken. Raises AwsError, also for one that is too
    long for tags.
    """
    about = {"service": service, "record": dict(record), "run": _run(), "leased": True,
             "owner": ProcessOwner.this().to_dict()}  # fmt: skip
    store.put(place, thing, packed(str(record["token"]), about, store.most))


def tokens(place: Place, store: TagStore, thing: str) -> set[str]:
    """The faults that a thing is marked with. Raises AwsError."""
    return {match[1] for key in store.of(place, thing) if (match := _KEY.match(key))}


def take(place: Place, store: TagStore, thing: str, token: str) -> None:
    """Take the record off again; none there is fine. Raises AwsError."""
    found = store.of(place, thing)
    keys = [key for key in found if (match := _KEY.match(key)) and match[1] == token]
    if not keys:
        return
    try:
        store.take(place, thing, keys)
    except AwsError as error:
        if not error.vanished:
            raise


def found(place: Place) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(thing, what was written on it) of everything of EC2's that is marked here. Raises AwsError,
    and ValueError for a mark that is not whole.
    """
    chosen = [{"Name": "key", "Values": [f"{UNDO}*"]}]
    tags = list(place.pages("ec2", "describe_tags", "Tags", Filters=chosen))
    for thing in dict.fromkeys(str(tag["ResourceId"]) for tag in tags):
        own = {str(tag["Key"]): str(tag["Value"]) for tag in tags if tag["ResourceId"] == thing}
        yield from _of(thing, own)


def found_on(
    place: Place, store: TagStore, things: Iterable[str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The same of these things. One that is gone has no mark."""
    for thing in dict.fromkeys(things):
        try:
            tags = store.of(place, thing)
        except AwsError as error:
            if not error.vanished:
                raise
            continue
        yield from _of(thing, tags)


def _of(thing: str, every: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    pieces: dict[str, dict[str, str]] = {}
    for key, value in every.items():
        if (match := _KEY.match(key)) is not None:
            pieces.setdefault(match[1], {})[key] = value
    for _, tags in sorted(pieces.items()):
        try:
            yield thing, unpacked(tags)
        except ValueError as error:
            raise ValueError(f"{thing}: {error}") from None


def holder(about: Mapping[str, Any]) -> str | None:
    """Who may still hold it; None where its process is known to be dead."""
    try:
        owner = ProcessOwner.of(about["owner"])
    except (KeyError, ValueError, AttributeError):
        return "nobody can tell who"
    fate = owner.fate()
    if fate is Fate.DEAD:
        return None
    return str(owner) if fate is Fate.LIVE else f"{owner}, of which nothing is known here"


def is_leased_elsewhere(about: Mapping[str, Any]) -> bool:
    """Whether its process is one of which nothing is known here but what its lease says."""
    try:
        unknown = ProcessOwner.of(about["owner"]).fate() is Fate.UNKNOWN
    except (KeyError, ValueError, AttributeError):
        return False
    return unknown and about.get("leased") is True


def packed(token: str, about: Mapping[str, Any], most: int = Ec2Tags.most) -> dict[str, str]:
    """What is to be kept, as tags. Raises AwsError when it is too much for them."""
    text = json.dumps(about, sort_keys=True, separators=(",", ":")).encode()
    data = base64.urlsafe_b64encode(zlib.compress(text, 9)).decode()
    pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
    if len(pieces) > most:
        raise AwsError(
            "TagLimitExceeded",
            f"what has to be kept of it wants {len(pieces)} tags, {most} at most: break fewer "
            "things by one component",
        )
    return {
        f"{UNDO}{token}-{number}of{len(pieces)}": piece
        for number, piece in enumerate(pieces, start=1)
    }


def unpacked(tags: Mapping[str, str]) -> Mapping[str, Any]:
    """What such tags keep. Raises ValueError when they are not whole."""
    known = {key: match for key in tags if (match := _KEY.match(key))}
    count = {int(match[3]) for match in known.values()}
    order = sorted(known, key=lambda key: int(known[key][2]))
    if len(count) != 1 or [int(known[key][2]) for key in order] != [*range(1, max(count) + 1)]:
        raise ValueError("an undo mark of which a piece is missing")
    try:
        data = base64.b64decode("".join(tags[key] for key in order), b"-_", validate=True)
        text = zlib.decompressobj().decompress(data, _MOST_BYTES)
        about = json.loads(text)
        if not isinstance(about["record"], dict) or not isinstance(about["service"], str):
            raise ValueError("no record")
    except (ValueError, KeyError, TypeError, zlib.error):
        raise ValueError("an undo mark that cannot be read") from None
    return dict(about)


def _run() -> str:
    return os.path.basename(os.environ.get("STORMGATE_EVIDENCE", "").rstrip("/")) or "by-hand"
