"""One run at a time in an account's region, whichever machine it runs on: a numbered parameter of
Systems Manager that this process holds and renews from its first fault there to its last undo.

A parameter is made only where there is none of its name: of all who want the next number, AWS lets
one have it. Numbers of owners that died stay below, so that nobody can make one of them anew. How
old a lease is, AWS's clock says: that of its last change, and that of the answer that tells it.
Nothing has to be set up before (a table, a bucket), and nothing is paid.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.errors import CannotBreak
from stormgate.faults.state import Fate, ProcessOwner

CLIENTS = ("ssm",)
PERMISSIONS = ("ssm:GetParametersByPath", "ssm:PutParameter", "ssm:DeleteParameter")
PATH = "/stormgate/lease"
RENEW_S, DURATION_S = 20.0, 120.0
_TRIES = 3


@dataclass(frozen=True, slots=True)
class _Lease:
    """One number, and whose it is; `age_s` is None where AWS did not say the time."""

    number: int
    owner: ProcessOwner | None
    run: str
    age_s: float | None

    @property
    def lives(self) -> bool:
        """Whether it keeps others out: not where its owner was here and is dead, nor where nobody
        has renewed it for DURATION_S. What cannot be read does.
        """
        fate = Fate.UNKNOWN if self.owner is None else self.owner.fate()
        if fate is not Fate.UNKNOWN:
            return fate is Fate.LIVE
        return self.age_s is None or self.age_s <= DURATION_S

    def told(self) -> str:
        """Who, and until when, in words."""
        age = "" if self.age_s is None else f", {max(0.0, DURATION_S - self.age_s):.0f} s from now"
        return f"{self.owner or 'nobody can tell whom'} (its lease runs out{age} unless renewed)"


@dataclass
class _Hold:
    place: Place
    number: int
    tokens: set[str]
    renewed_s: float
    stop: threading.Event = field(default_factory=threading.Event)


_holds: dict[Place, _Hold] = {}
_lock = threading.Lock()


def hold(place: Place, token: str) -> None:
    """Hold the place for the fault with this token. Raises CannotBreak naming who has it,
    AwsError.
    """
    with _lock:
        if (held := _holds.get(place)) is not None:
            held.tokens.add(token)
            return
        number = _take(place)
        held = _holds[place] = _Hold(place, number, {token}, time.monotonic())
        threading.Thread(target=_renew, args=(held,), name="account", daemon=True).start()


def let_go(place: Place, token: str) -> None:
    """The fault with this token is over; with the last one the place is given back. Idempotent.
    Never raises: a lease that is not given back runs out.
    """
    with _lock:
        held = _holds.get(place)
        if held is None or token not in held.tokens:
            return
        held.tokens.discard(token)
        if held.tokens:
            return
        del _holds[place]
    _give_back(held)


def living_holder(place: Place) -> str | None:
    """Who but this run holds a place and lives, as far as can be told; None when nobody does.
    Raises AwsError.
    """
    others = _others(place)
    return others[0].told() if others else None


def _take(place: Place) -> int:
    for _ in range(_TRIES):
        found = list(_leases(place))
        _refuse(place, [one for one in found if one.lives and not _is_ours(one)])
        number = max((one.number for one in found), default=0) + 1
        try:
            _put(place, number, new=True)
        except AwsError as error:
            if error.code != "ParameterAlreadyExists":
                raise
            continue  # another was first: look again
        # Beside one of our own run another may have been given back and taken meanwhile.
        others = _others(place)
        if others:
            with contextlib.suppress(AwsError):
                _delete(place, number)
            _refuse(place, others)
        return number
    raise CannotBreak(f"account {place.account} {place.region}: its lease changes hands too often")


def _refuse(place: Place, others: list[_Lease]) -> None:
    if others:
        raise CannotBreak(
            f"account {place.account} {place.region} is in use by {others[0].told()}; wait for "
            f"that run, or stop it: parameter {PATH}/{others[0].number}"
        )


def _others(place: Place) -> list[_Lease]:
    return [one for one in _leases(place) if one.lives and not _is_ours(one)]


def _leases(place: Place) -> Iterator[_Lease]:
    more: dict[str, Any] = {}
    while True:
        page = place.call("ssm", "get_parameters_by_path", within_s=10, Path=PATH, **more)
        now = _date(page)
        for one in page["Parameters"]:
            name = str(one["Name"]).rpartition("/")[2]
            if name.isdigit():
                yield _read(int(name), one, now)
        if not page.get("NextToken"):
            return
        more = {"NextToken": page["NextToken"]}


def _read(number: int, parameter: dict[str, Any], now: datetime | None) -> _Lease:
    owner, run = None, ""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        said = json.loads(parameter["Value"])
        owner, run = ProcessOwner.of(said["owner"]), str(said["run"])
    changed = parameter.get("LastModifiedDate")
    if now is None or not isinstance(changed, datetime):
        return _Lease(number, owner, run, None)
    return _Lease(number, owner, run, (now - changed).total_seconds())


def _date(page: dict[str, Any]) -> datetime | None:
    """What time it is where the answer was made."""
    headers = (page.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
    try:
        return parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, TypeError):
        return None


def _is_ours(one: _Lease) -> bool:
    """Of this process, or of another one of the same run on this machine."""
    mine = ProcessOwner.this()
    if one.owner is None or one.owner.machine != mine.machine or one.owner.boot != mine.boot:
        return False
    return one.owner == mine or (bool(one.run) and one.run == _run())


def _put(place: Place, number: int, *, new: bool) -> None:
    value = json.dumps({"owner": ProcessOwner.this().to_dict(), "run": _run()})
    place.call(
        "ssm",
        "put_parameter",
        within_s=10,
        Name=f"{PATH}/{number}",
        Value=value,
        Type="String",
        Overwrite=not new,
    )


def _delete(place: Place, number: int) -> None:
    place.call("ssm", "delete_parameter", within_s=10, Name=f"{PATH}/{number}")


def _renew(held: _Hold) -> None:
    while not held.stop.wait(RENEW_S):
        # One that fails is tried again. What was taken off by hand is not ours any more.
        with contextlib.suppress(AwsError):
            mine = ProcessOwner.this()
            found = {one.number: one.owner for one in _leases(held.place)}
            if found.get(held.number) == mine and not held.stop.is_set():
                _put(held.place, held.number, new=False)
                held.renewed_s = time.monotonic()


def _give_back(held: _Hold) -> None:
    held.stop.set()
    # After so long another may have taken the next number, and the hole below it would be one that
    # somebody could take beside them.
    if time.monotonic() - held.renewed_s < DURATION_S:
        with contextlib.suppress(AwsError):
            _delete(held.place, held.number)


@atexit.register
def give_all_back() -> None:
    """Whatever this process holds, as at its end."""
    with _lock:
        left = list(_holds.values())
        _holds.clear()
    for held in left:
        _give_back(held)


def _run() -> str:
    """The run's own folder; "" where nobody said one."""
    return os.environ.get("STORMGATE_EVIDENCE", "").rstrip("/")
