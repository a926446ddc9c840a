"""The alerter, where `provision.lab.observability.alertWebhook` says whom to tell. Program:
services/observed/alerter.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stormgate.lab.design.layout import Layout, Process
from stormgate.lab.design.observability import observability
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.kinds import ProcessKind

_SCRAPED = ("edge", "service", "model")


class AlerterKind(ProcessKind):
    """One, outside every region: it sees processes themselves, past every link."""

    name = "alerter"
    rank = 8
    program = "stormgate.lab.services.observed.alerter:start"
    last = True

    def parts(self, layout: Layout) -> Iterable[Process]:
        asked = observability(layout.target) or {}
        return [Process(self.name, self.name)] if "alertWebhook" in asked else []

    def config(self, wiring: Wiring, part: Process) -> dict[str, Any]:
        layout = wiring.layout
        return {
            "webhook": (observability(layout.target) or {})["alertWebhook"],
            "scraped": [
                {"name": other.name, "kind": other.kind, **wiring.endpoint(other.name)}
                for other in layout.parts
                if other.kind in _SCRAPED
            ],
        }


KIND = AlerterKind()
