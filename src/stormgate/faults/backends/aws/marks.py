"""What a fault keeps, written on the very thing it breaks, too: tags of one of EC2's own (a subnet,
an instance, an interface), so that it can be taken back when the ledger is lost with its machine.

A tag holds 256 characters: the record is packed and cut in pieces, and is whole only with all of
them. Tags are no lock: nobody can tell from them whether a run on another machine is alive.
"""

from __future__ import annotations

import base64
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from stormgate.faults.backends import Record
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.state import Fate, ProcessOwner

UNDO = "stormgate.dev/undo-"
PERMISSIONS = ("ec2:CreateTags", "ec2:DeleteTags", "ec2:DescribeTags")
_PIECE = 240
_MOST = 30  # of the 50 tags that a resource may have
_KEY = re.compile(rf"^{re.escape(UNDO)}([0-9A-Za-z]+)-([0-9]+)of([0-9]+)$")
_MOST_BYTES = 1 << 20


def put(place: Place, thing: str, service: str, record: Record) -> None:
    """Write the record on `thing` before it is broken. Raises AwsError, also for one that is too
    long for tags.
    """
    about = {"service": service, "record": dict(record), "run": _run(),
             "owner": ProcessOwner.this().to_dict()}  # fmt: skip
    tags = packed(str(record["token"]), about)
    place.call(
        "ec2",
        "create_tags",
        within_s=20,
        Resources=[thing],
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )


def tokens(place: Place, thing: str) -> set[str]:
    """The faults that a thing is marked with. Raises AwsError."""
    return {token for _, _, token in _tags(place, thing)}


def take(place: Place, thing: str, token: str) -> None:
    """Take the record off again; none there is fine. Raises AwsError."""
    keys = [key for key, _, of in _tags(place, thing) if of == token]
    if not keys:
        return
    try:
        given = [{"Key": key} for key in keys]
        place.call("ec2", "delete_tags", within_s=10, Resources=[thing], Tags=given)
    except AwsError as error:
        if not error.vanished:
            raise


def found(place: Place) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(thing, what was written on it) of everything that is marked here. Raises AwsError, and
    ValueError for a mark that is not whole.
    """
    pieces: dict[tuple[str, str], dict[str, str]] = {}
    for key, tag, token in _tags(place, None):
        pieces.setdefault((str(tag["ResourceId"]), token), {})[key] = str(tag["Value"])
    for (thing, _), tags in sorted(pieces.items()):
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


def packed(token: str, about: Mapping[str, Any]) -> dict[str, str]:
    """What is to be kept, as tags. Raises AwsError when it is too much for them."""
    text = json.dumps(about, sort_keys=True, separators=(",", ":")).encode()
    data = base64.urlsafe_b64encode(zlib.compress(text, 9)).decode()
    pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
    if len(pieces) > _MOST:
        raise AwsError(
            "TagLimitExceeded",
            f"what has to be kept of it wants {len(pieces)} tags, {_MOST} at most: break fewer "
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


def _tags(place: Place, thing: str | None) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """(key, tag, token) of our marks, on one thing or on all."""
    chosen = [{"Name": "key", "Values": [f"{UNDO}*"]}]
    if thing is not None:
        chosen.append({"Name": "resource-id", "Values": [thing]})
    for tag in place.pages("ec2", "describe_tags", "Tags", Filters=chosen):
        match = _KEY.match(str(tag["Key"]))
        if match:
            yield str(tag["Key"]), tag, match[1]


def _run() -> str:
    return os.path.basename(os.environ.get("STORMGATE_EVIDENCE", "").rstrip("/")) or "by-hand"
