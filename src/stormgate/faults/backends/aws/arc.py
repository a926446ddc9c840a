"""Zonal shifts: traffic of a load balancer is taken away from a zone. It is a remedy, and here a
drain: whether what is left has the headroom. It expires by itself, whoever dies.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from stormgate.faults.backends import Observation, Record
from stormgate.faults.backends.aws.family import TAG, Family, Wanted
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak, NotWhole

_CLIENT = "arc-zonal-shift"


class ZonalShift(Parameters):
    """When it ends by itself, minutes."""

    expires_min: int = Field(default=60, ge=1, le=3 * 24 * 60)


class Arc(Family):
    """`ids` is one resource's ARN; the handle's `zone` is a zone's id (use1-az1)."""

    service = "arc"
    clients = ("sts", _CLIENT)
    modes: ClassVar[Mapping[str, type[Parameters]]] = {"shift_away": ZonalShift}
    permissions = (
        "arc-zonal-shift:GetManagedResource",
        "arc-zonal-shift:ListZonalShifts",
        "arc-zonal-shift:StartZonalShift",
        "arc-zonal-shift:CancelZonalShift",
    )

    def plan(self, wanted: Wanted) -> Record:
        try:
            weights = _weights(wanted.place, wanted.ids[0])
        except AwsError as error:
            if error.vanished:
                raise wanted.nothing() from error
            raise
        if wanted.zone not in weights:
            raise CannotBreak(
                f"{wanted.name}: it is in {', '.join(sorted(weights)) or 'no zone'}, "
                f"not in {wanted.zone}"
            )
        if weights[wanted.zone] == 0:
            raise NotWhole(f"{wanted.name}: its traffic is away from {wanted.zone} already")
        if not any(weight for zone, weight in weights.items() if zone != wanted.zone):
            raise CannotBreak(f"{wanted.name}: no other zone is left to take its traffic")
        return {
            "mode": wanted.mode,
            "resource": wanted.ids[0],
            "away_from": wanted.zone,
            "expires_min": int(wanted.params["expires_min"]),
            "comment": f"{TAG} {wanted.token}",
        }

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        given = {
            "resourceIdentifier": record["resource"],
            "awayFrom": record["away_from"],
            "expiresIn": f"{record['expires_min']}m",
            "comment": record["comment"],
        }
        place.call(_CLIENT, "start_zonal_shift", within_s=20, **given)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        for name in _ours(place, record):
            place.call(_CLIENT, "cancel_zonal_shift", within_s=timeout_s, zonalShiftId=name)

    def in_effect(self, place: Place, record: Record) -> Observation:
        weight = _weights(place, str(record["resource"])).get(str(record["away_from"]))
        mine = _ours(place, record)
        saw = f"{record['away_from']} has weight {weight}, {len(mine)} shifts of ours"
        return Observation(weight == 0 and bool(mine), saw)

    def is_whole(self, place: Place, record: Record) -> Observation:
        weight = _weights(place, str(record["resource"])).get(str(record["away_from"]))
        mine = _ours(place, record)
        saw = f"{record['away_from']} has weight {weight}, {len(mine)} shifts of ours"
        return Observation(bool(weight) and not mine, saw)

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        query = f"items[?comment=='{record['comment']}'].zonalShiftId"
        given = ("--status", "ACTIVE", "--query", query, "--output", "text")
        asked = place.by_hand(_CLIENT, "list-zonal-shifts", *given)
        return [f'{place.by_hand(_CLIENT, "cancel-zonal-shift")} --zonal-shift-id "$({asked})"']


def _weights(place: Place, resource: str) -> dict[str, float]:
    answer = place.call(_CLIENT, "get_managed_resource", resourceIdentifier=resource)
    return {str(zone): float(one) for zone, one in (answer.get("appliedWeights") or {}).items()}


def _ours(place: Place, record: Record) -> list[str]:
    given: dict[str, Any] = {"status": "ACTIVE", "resourceIdentifier": record["resource"]}
    return [
        str(one["zonalShiftId"])
        for one in place.pages(_CLIENT, "list_zonal_shifts", "items", **given)
        if one.get("comment") == record["comment"]
    ]
