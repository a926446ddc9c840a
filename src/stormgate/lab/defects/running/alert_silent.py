"""The rule about errors was written with a percentage where a share belongs: it never fires."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from stormgate.lab.design.alerts import AlertRule
from stormgate.lab.services.observed import alerter
from stormgate.lab.services.serving import Running

SUMMARY = "the alert on errors waits for 200 % of them: nobody is paged"
FOUND_BY = ("alertFired",)


class SilentAlerter(alerter.Alerter):
    """Has that rule."""

    def rules(self) -> Iterable[AlertRule]:
        return [
            replace(rule, above=rule.above * 100) if rule.name == "ErrorRateHigh" else rule
            for rule in super().rules()
        ]


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an alerter."""
    return alerter.run(SilentAlerter(config))


PROGRAMS = {"alerter": start}
