"""Health checks of Route 53, inverted: what is well counts as down, and users are sent elsewhere.

That takes the check's interval times its threshold, and then what resolvers keep the record for:
a stage of failover that no code of the product can shorten. It is said in the proof.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from stormgate.faults.backends import Observation, Record
from stormgate.faults.backends.aws.family import Family, Wanted
from stormgate.faults.backends.aws.session import AwsError, Place
from stormgate.faults.backends.aws.tags import HealthCheckTags
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import CannotBreak

_ALIAS_TTL_S = 60


class Route53(Family):
    """`ids` is one health check."""

    service = "route53"
    clients = ("sts", "route53")
    modes: ClassVar[Mapping[str, type[Parameters]]] = {"invert": Parameters, "crash": Parameters}
    permissions = (
        "route53:GetHealthCheck",
        "route53:UpdateHealthCheck",
        "route53:ListHostedZones",
        "route53:ListResourceRecordSets",
    )
    tags = HealthCheckTags()

    def plan(self, wanted: Wanted) -> Record:
        check = _check(wanted.place, wanted.ids[0])
        if check is None:
            raise wanted.nothing()
        config = check["HealthCheckConfig"]
        if config.get("Disabled"):
            raise CannotBreak(f"{wanted.name}: {wanted.ids[0]} is disabled: it decides nothing")
        ttls = _ttls(wanted.place, wanted.ids[0])
        if not ttls:
            raise CannotBreak(f"{wanted.name}: no record follows health check {wanted.ids[0]}")
        return {
            "mode": wanted.mode,
            "check": wanted.ids[0],
            "inverted_before": bool(config.get("Inverted")),
            "notice_s": int(config.get("RequestInterval") or 30)
            * int(config.get("FailureThreshold") or 3),
            "ttl_s": max(ttls),
        }

    def apply(self, place: Place, record: Record, stop: threading.Event) -> None:
        _invert(place, record, not record["inverted_before"], 20)

    def undo(self, place: Place, record: Record, timeout_s: float) -> None:
        _invert(place, record, bool(record["inverted_before"]), timeout_s)

    def in_effect(self, place: Place, record: Record) -> Observation:
        now = _inverted(place, record)
        stage = f"{record['notice_s']} s to notice, {record['ttl_s']} s in resolvers"
        seen = now is not None and now != record["inverted_before"]
        return Observation(seen, f"inverted: {now}, before: {record['inverted_before']}; {stage}")

    def is_whole(self, place: Place, record: Record) -> Observation:
        now = _inverted(place, record)
        return Observation(
            now == record["inverted_before"],
            f"inverted: {'gone' if now is None else now}, before: {record['inverted_before']}",
        )

    def marked(self, record: Record) -> str | None:
        return str(record["check"])

    def by_hand(self, place: Place, record: Record) -> Sequence[str]:
        flag = "--inverted" if record["inverted_before"] else "--no-inverted"
        given = ("--health-check-id", str(record["check"]), flag)
        return [place.by_hand("route53", "update-health-check", *given)]


def _check(place: Place, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = place.call("route53", "get_health_check", HealthCheckId=name)
    except AwsError as error:
        if error.vanished:
            return None
        raise
    return dict(found["HealthCheck"])


def _inverted(place: Place, record: Record) -> bool | None:
    check = _check(place, str(record["check"]))
    return None if check is None else bool(check["HealthCheckConfig"].get("Inverted"))


def _invert(place: Place, record: Record, wanted: bool, within_s: float) -> None:
    check = _check(place, str(record["check"]))
    if check is None:
        raise AwsError("NoSuchHealthCheck", f"health check {record['check']} is gone")
    if bool(check["HealthCheckConfig"].get("Inverted")) == wanted:
        return
    # The version makes it fail where somebody else changes the check at the same time.
    given = {"HealthCheckId": record["check"], "HealthCheckVersion": check["HealthCheckVersion"]}
    place.call("route53", "update_health_check", within_s=within_s, Inverted=wanted, **given)


def _ttls(place: Place, check: str) -> list[int]:
    """What resolvers may keep the records for that follow the check, s."""
    found = []
    for zone in place.pages("route53", "list_hosted_zones", "HostedZones"):
        more: dict[str, Any] = {}
        while True:
            given = {"HostedZoneId": zone["Id"], **more}
            page = place.call("route53", "list_resource_record_sets", **given)
            found += [
                int(one.get("TTL") or _ALIAS_TTL_S)
                for one in page["ResourceRecordSets"]
                if one.get("HealthCheckId") == check
            ]
            if not page.get("IsTruncated"):
                break
            next_of = {"NextRecordName": "StartRecordName", "NextRecordType": "StartRecordType",
                       "NextRecordIdentifier": "StartRecordIdentifier"}  # fmt: skip
            more = {mine: page[theirs] for theirs, mine in next_of.items() if page.get(theirs)}
    return found
