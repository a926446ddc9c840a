"""The router of a region: each call goes to the least tier that can do it, on one fleet or on both
in turn, and to the next tier up while that one is gone. Never a second try of a call that was
begun: one that dies under way is an error its user sees. One refused unbegun (429) goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from stormgate.lab.design.health import Health
from stormgate.lab.design.inference import TASKS, tiers_for
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services.httpclient import HttpPeer
from stormgate.lab.services.serving import every, failure_kind, problem, reply
from stormgate.net.httpserver import HttpResponse

_REFUSED = 429
_TOLD = ("x-chenu-model", "x-chenu-fleet", "x-chenu-cost", "x-chenu-model-ms")


class ModelRoute:
    """The way to one model server."""

    def __init__(self, entry: dict[str, Any], settings: LabSettings) -> None:
        self.tier: str = entry["tier"]
        self.fleet: str = entry["fleet"]
        self.region: str = entry["region"]
        self.peer = HttpPeer(entry["host"], entry["port"])
        self.health = Health(settings.route_refused_s, settings.route_silent_s)

    async def probe(self, timeout_s: float) -> None:
        """Ask how it is."""
        began_s = time.monotonic()
        result, _ = await self.peer.probe("/healthz", timeout_s=timeout_s)
        if self.health.record(result, began_s, time.monotonic()) and not self.health.up:
            self.peer.close()


class InferenceRouter:
    """`entries` are the model servers, the nearest first."""

    def __init__(self, entries: Sequence[dict[str, Any]], settings: LabSettings) -> None:
        self.settings = settings
        self.routes = [ModelRoute(entry, settings) for entry in entries]
        self.fleets = sorted({route.fleet for route in self.routes})
        self._turns: dict[str, int] = {}

    def tiers(self, task: str) -> tuple[str, ...]:
        """The tiers that may answer, the right one first."""
        return tiers_for(task)

    def fleet(self, task: str) -> str:
        """The fleet whose turn it is: with two of them every other call of a task, so that both
        have the same traffic at the same time.
        """
        turn = self._turns[task] = self._turns.get(task, -1) + 1
        return self.fleets[turn % len(self.fleets)]

    def choose(self, task: str, fleet: str, but: Sequence[ModelRoute] = ()) -> ModelRoute | None:
        """The nearest living server of the first tier that has one, on this fleet; on another where
        that has none at all. None of those that have refused.
        """
        living = [route for route in self.routes if route.health.up and route not in but]
        own = [route for route in living if route.fleet == fleet] or living
        for tier in self.tiers(task):
            if (found := next((route for route in own if route.tier == tier), None)) is not None:
                return found
        return None

    async def answer(self, body: bytes, facts: dict[str, str]) -> HttpResponse:
        """One call of a user. `facts` are headers that every answer has."""
        try:
            task = json.loads(body)["task"]
        except (ValueError, KeyError, TypeError):
            task = None
        if task not in TASKS:
            return problem(400, f"task must be one of {', '.join(TASKS)}", facts)
        fleet, refused = self.fleet(task), list[ModelRoute]()
        answer = problem(503, "no model can be reached", facts)
        while (route := self.choose(task, fleet, refused)) is not None:
            answer = await self._sent_to(route, body, facts)
            if answer.status != _REFUSED:
                break
            refused.append(route)
        return answer

    async def _sent_to(self, route: ModelRoute, body: bytes, facts: dict[str, str]) -> HttpResponse:
        began_s = time.monotonic()
        try:
            answer = await route.peer.request(
                "POST", "/", body=body, timeout_s=self.settings.service_timeout_s
            )
        except OSError as error:  # TimeoutError is one too
            route.health.record(failure_kind(error), began_s, time.monotonic())
            status = 504 if isinstance(error, TimeoutError) else 502
            return problem(status, f"the {route.tier} model in {route.region} is gone", facts)
        told = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
        return reply(answer.status, answer.body, {**facts, **told})

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside it: asking every server how it is."""
        timeout_s = self.settings.probe_timeout_s
        return [
            every(
                self.settings.route_probe_s,
                partial(route.probe, timeout_s),
                partial(_seen, route.health),
            )
            for route in self.routes
        ]


def _seen(health: Health) -> bool:
    return health.seen
