"""Health checks of Route 53 that really move users: each region has one, and a record that follows
it.

What a check says reaches users late: after its interval times its threshold, and when resolvers
have forgotten the record. Here every resolver has just asked, so that all users move at the end of
both: the longest that it takes. The checks look at nothing: that a region is down, the lab's own
steward sees.
"""

from __future__ import annotations

import threading
from typing import Any

from stormgate.lab.cloud.acts import Acts
from stormgate.lab.design.cloud import health_check, is_edge

# The least that Route 53 takes, and what a record of its kind might have.
_INTERVAL_S, _THRESHOLD = 10, 1
_TTL_S = 2
_DOMAIN = "lab.example."


class Checks:
    """Whose users follow which check."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts
        self._edges: dict[str, list[str]] = {}
        self._pending: dict[str, threading.Timer] = {}
        self._lock = threading.Lock()

    def seed(self, route53: Any, zones: list[dict[str, Any]]) -> None:
        """A check of each zone, and the records that follow them."""
        hosted = route53.create_hosted_zone(Name=_DOMAIN, CallerReference="lab")["HostedZone"]["Id"]
        changes = []
        for zone in zones:
            made = route53.create_health_check(
                CallerReference=zone["name"],
                HealthCheckConfig={
                    "Type": "HTTP",
                    "FullyQualifiedDomainName": f"{zone['name']}.{_DOMAIN}",
                    "ResourcePath": "/healthz",
                    "RequestInterval": _INTERVAL_S,
                    "FailureThreshold": _THRESHOLD,
                },
            )["HealthCheck"]["Id"]
            name = health_check(zone["name"])
            # Its id is known before it is made, so that a target can name it.
            checks = _backend().health_checks
            checks[name] = checks.pop(made)
            checks[name].id = name
            self._edges[name] = [one for one in zone["instances"] if is_edge(one)]
            record = {
                "Name": _DOMAIN,
                "Type": "A",
                "SetIdentifier": zone["name"],
                "Weight": 1,
                "TTL": _TTL_S,
                "ResourceRecords": [{"Value": "127.0.0.1"}],
                "HealthCheckId": name,
            }
            changes.append({"Action": "CREATE", "ResourceRecordSet": record})
        given = {"HostedZoneId": hosted, "ChangeBatch": {"Changes": changes}}
        route53.change_resource_record_sets(**given)

    def wrap(self) -> None:
        """Let moto's call move users."""
        from moto.route53.models import Route53Backend

        original = Route53Backend.update_health_check

        def update_health_check(backend: Any, health_check_id: str, args: dict[str, Any]) -> Any:
            check = original(backend, health_check_id, args)
            check.health_check_version += 1
            if health_check_id in self._edges:
                self.changed(check, takes_s=_takes_s(backend, check))
            return check

        Route53Backend.update_health_check = update_health_check

    def changed(self, check: Any, *, takes_s: float) -> None:
        """What it says now holds when it has said so for `takes_s`; what it said before, never."""
        with self._lock:
            if (pending := self._pending.pop(check.id, None)) is not None:
                pending.cancel()
            timer = threading.Timer(takes_s, self._holds, (check,))
            timer.daemon = True
            self._pending[check.id] = timer
            timer.start()

    def _holds(self, check: Any) -> None:
        wanted = not check.inverted or check.disabled
        self._acts.serve(self._edges[check.id], wanted=wanted, why=check.id)


def _takes_s(backend: Any, check: Any) -> float:
    """Until the last user has heard of it, s."""
    ttls = [
        int(record.ttl or 0)
        for zone in backend.zones.values()
        for record in zone.rrsets
        if record.health_check_id == check.id
    ]
    return float(int(check.request_interval) * int(check.failure_threshold) + max(ttls, default=0))


def _backend() -> Any:
    from moto.backends import get_backend

    from stormgate.lab.design.cloud import ACCOUNT

    return get_backend("route53")[ACCOUNT]["aws"]
