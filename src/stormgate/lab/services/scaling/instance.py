"""One instance: the service's own program behind a queue that lets through so many requests per
second, which is what a machine of its own would be.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from stormgate.lab.services import service
from stormgate.lab.services.serving import Door, live, problem
from stormgate.net import httpserver
from stormgate.net.httpserver import Handler, HttpRequest, HttpResponse

# Whoever would wait longer for their turn is told so at once, s.
MOST_WAIT_S = 0.5


class Turns:
    """Lets one after the other through, `capacity_per_s` of them; nobody else's before its time."""

    def __init__(self, capacity_per_s: float) -> None:
        self._takes_s = 1 / capacity_per_s
        self._free_s = 0.0

    def wait_s(self, now_s: float) -> float | None:
        """How long until the turn of whoever comes now; None: too long, and it is not theirs."""
        wait_s = max(0.0, self._free_s - now_s)
        if wait_s > MOST_WAIT_S:
            return None
        self._free_s = now_s + wait_s + self._takes_s
        return wait_s


class Instance:
    """`within` handles what is let through. It is not ready before `starts_in_s` are over: what
    loading an image and warming up take elsewhere.
    """

    def __init__(self, within: Handler, capacity_per_s: float, starts_in_s: float) -> None:
        self._within = within
        self._turns = Turns(capacity_per_s)
        self._ready_s = asyncio.get_running_loop().time() + starts_in_s

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._ready_s:
            return problem(503, "starting")
        if request.path != "/healthz":
            wait_s = self._turns.wait_s(now_s)
            if wait_s is None:
                return problem(503, "too busy")
            if wait_s:
                await asyncio.sleep(wait_s)
        return await self._within(request)


def main(config: dict[str, Any], sock: socket.socket, starts_in_s: float) -> None:
    """Serve on this socket until SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(config, sock, starts_in_s))


async def _serve(config: dict[str, Any], sock: socket.socket, starts_in_s: float) -> None:
    handler, loops = service.start(config)
    instance = Instance(handler, config["scaling"]["capacity_per_s"], starts_in_s)
    door = Door(instance.handle, 0.0)
    async with httpserver.serving(door.answer, sock=sock):
        await live(loops, door)
