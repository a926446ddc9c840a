"""The alerter: scrapes every process, evaluates the rules, and tells a webhook what begins and ends
to fire, as Alertmanager does (version 4 of its payload).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from stormgate.lab.design.alerts import RULES, AlertBook, AlertRule, Scrape
from stormgate.lab.services.httpclient import HttpPeer
from stormgate.lab.services.serving import Running, every, reply
from stormgate.net.exposition import summed
from stormgate.net.httpserver import HttpRequest, HttpResponse

_EVERY_S = 0.5
_TIMEOUT_S = 0.4
_COUNTER = "chenu_requests_total"


class Alerter:
    """State of the alerter process; `config` is its wiring."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._scraped = {e["name"]: HttpPeer(e["host"], e["port"]) for e in config["scraped"]}
        edges = frozenset(e["name"] for e in config["scraped"] if e["kind"] == "edge")
        self.book = AlertBook(edges, frozenset(self._scraped), self.rules())
        hook = urlsplit(config["webhook"])
        self._hook = HttpPeer(str(hook.hostname), hook.port or 80)
        self._path = hook.path or "/"
        self._untold: list[dict[str, Any]] = []

    def rules(self) -> Iterable[AlertRule]:
        """What is looked for."""
        return RULES

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """How it is: the alerts that nobody took yet."""
        return reply(200, {"untold": len(self._untold)})

    async def turn(self) -> None:
        """Scrape, evaluate, tell. What nobody took is told again the next time."""
        found = await asyncio.gather(*(self._scrape(name) for name in self._scraped))
        there = {name: counts for name, counts in found if counts is not None}
        scrape = Scrape(
            time.monotonic(),
            {name: counts[0] for name, counts in there.items()},
            {name: counts[1] for name, counts in there.items()},
        )
        self._untold += self.book.take(scrape)
        if self._untold:
            await self._tell()

    async def _scrape(self, name: str) -> tuple[str, tuple[float, float] | None]:
        try:
            answer = await self._scraped[name].request("GET", "/metrics", timeout_s=_TIMEOUT_S)
            text = answer.body.decode()
            requests = summed(text, _COUNTER, {})
            errors = summed(text, _COUNTER, {"status": "5xx"})
        except (OSError, ValueError):
            return name, None
        return name, None if requests is None or errors is None else (requests, errors)

    async def _tell(self) -> None:
        alerts = list(self._untold)
        status = "firing" if any(a["status"] == "firing" for a in alerts) else "resolved"
        payload = {"version": "4", "receiver": "stormgate", "status": status, "alerts": alerts}
        try:
            answer = await self._hook.request(
                "POST",
                self._path,
                headers={"content-type": "application/json"},
                body=json.dumps(payload).encode(),
                timeout_s=_TIMEOUT_S,
            )
        except OSError:
            return
        if answer.status < 300:
            del self._untold[: len(alerts)]


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of the alerter."""
    return run(Alerter(config))


def run(alerter: Alerter) -> Running:
    """The handler and loops of this one."""
    return alerter.handle, [every(_EVERY_S, alerter.turn)]
