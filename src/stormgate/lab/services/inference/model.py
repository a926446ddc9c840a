"""A model server: works on so many calls at once, each for as long as its tier and fleet take, and
says what it cost. Where it is a function of a cloud, it may be allowed fewer, or none: what is
above that is refused unbegun, as a throttled function refuses.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from stormgate.lab.design.inference import SLOTS, TASKS, price_usd, time_ms
from stormgate.lab.services.serving import Running, problem, reply
from stormgate.net.httpserver import HttpRequest, HttpResponse

# How much a call's time varies, as a share of it to either side.
_JITTER = 0.1
_LOOK_S = 0.1


class ModelProgram:
    """State of one model server; `config` is its wiring."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.region: str = config["region"]
        self.tier: str = config["tier"]
        self.fleet: str = config["fleet"]
        self._slots = asyncio.Semaphore(SLOTS[self.tier])
        self._reserved = Path(config["reserved"]) if config.get("reserved") else None
        self.most: int | None = None
        self._at_work = 0
        self.read_reserved()
        self._random = random.Random(config["name"])  # noqa: S311 - no secret in it

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one call."""
        if request.path == "/healthz":
            return reply(200, {"tier": self.tier, "fleet": self.fleet})
        try:
            task = json.loads(request.body)["task"]
            took_ms = self.takes_ms(task)
        except (ValueError, KeyError, TypeError):
            return problem(400, f"task must be one of {', '.join(TASKS)}")
        if self.most is not None and self._at_work >= self.most:
            return problem(429, f"no more than {self.most} calls at once are allowed")
        self._at_work += 1
        try:
            return await self._worked(task, took_ms)
        finally:
            self._at_work -= 1

    def read_reserved(self) -> None:
        """Learn how many calls it may work on at once; without a word, as many as come."""
        try:
            said = None if self._reserved is None else self._reserved.read_text()
        except FileNotFoundError:
            said = None
        self.most = int(said) if said else None

    async def _worked(self, task: str, took_ms: float) -> HttpResponse:
        began = time.monotonic()
        async with self._slots:
            await asyncio.sleep(took_ms * self._random.uniform(1 - _JITTER, 1 + _JITTER) / 1e3)
        spent_ms = round((time.monotonic() - began) * 1e3)
        facts = {
            "x-chenu-model": self.tier,
            "x-chenu-fleet": self.fleet,
            "x-chenu-cost": f"{self.cost_usd():g}",
            "x-chenu-model-ms": str(spent_ms),
        }
        return reply(200, {"task": task, "tier": self.tier, "answer": f"about {task}"}, facts)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on beside the answers: nothing, where nobody may allow it fewer calls."""
        return [] if self._reserved is None else [self.keep_reserved()]

    async def keep_reserved(self) -> None:
        """Look again and again how many calls are allowed."""
        while True:
            self.read_reserved()
            await asyncio.sleep(_LOOK_S)

    def takes_ms(self, task: str) -> float:
        """How long this call takes once it is worked on, ms. Raises KeyError for no task."""
        return time_ms(task, self.tier, self.fleet)

    def cost_usd(self) -> float:
        """What this call costs, USD."""
        return price_usd(self.tier, self.fleet)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of a model server."""
    return run(ModelProgram(config))


def run(model: ModelProgram) -> Running:
    """The handler and loops of this one."""
    return model.handle, model.loops()
