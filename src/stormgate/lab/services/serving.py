"""What the lab's HTTP processes share: reading their configuration, serving until told to stop,
answering in JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from stormgate.lab.design.health import Probe
from stormgate.lab.services.observed.meter import Meter
from stormgate.lab.services.observed.tracing import EXPORT_S, traced
from stormgate.net import httpserver
from stormgate.net.httpserver import Handler, HttpRequest, HttpResponse

# How often what has just been started looks about, until it has found its peers.
_EAGER_S = 0.1
_MOMENT_S = 0.01
# What a process does: the handler of its requests, and the loops that run beside it.
Running = tuple[Handler, list[Coroutine[Any, Any, None]]]
Start = Callable[[dict[str, Any]], Running]


def main(start: Start, config_path: str) -> None:
    """Run one process: `start(config)` gives the request handler and the loops to run beside it.
    SystemExit says why not.
    """
    config = json.loads(Path(config_path).read_text())
    try:
        asyncio.run(_serve(config, start))
    except OSError as error:
        raise SystemExit(f"{config['name']}: {error}") from None


async def _serve(config: dict[str, Any], start: Start) -> None:
    handler, loops = start(config)
    if config.get("metrics"):
        # Whoever has a meter of its own says so; all others get the usual one.
        meter = getattr(getattr(handler, "__self__", None), "meter", Meter)
        handler = meter(handler).answer
    if config.get("otlp"):
        tracer = traced(handler, config["name"], config["otlp"])
        handler = tracer.answer
        loops.append(every(EXPORT_S, tracer.export))
    door = Door(handler, config.get("drain_s", 0.0))
    async with httpserver.serving(door.answer, "127.0.0.1", config["port"]):
        await live(loops, door)


class Door:
    """Lets requests in and knows who is still inside. Asked to end, it first says that it is
    leaving and goes on answering, until whoever routes here has heard so.
    """

    def __init__(self, handler: Handler, drain_s: float) -> None:
        self._handler = handler
        self._drain_s = drain_s
        self._inside = 0
        self._leaving = False

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """One request."""
        if self._leaving and request.path == "/healthz":
            return problem(503, "leaving")
        self._inside += 1
        try:
            return await self._handler(request)
        finally:
            self._inside -= 1

    async def leave(self) -> None:
        """Returns when nobody is inside who need be waited for; at once where nothing is
        drained.
        """
        if not self._drain_s:
            return
        self._leaving = True
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._drain_s)
        end = loop.time() + self._drain_s
        while self._inside and loop.time() < end:
            await asyncio.sleep(_MOMENT_S)


async def live(loops: list[Coroutine[Any, Any, None]], door: Door) -> None:
    """Until SIGTERM and everybody has left, or until a loop fails."""
    # A full collection in mid-request is a latency spike; what is there now stays for good.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    tasks = [asyncio.create_task(loop) for loop in loops]
    waiting: asyncio.Task[Any] = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    if waiting in done:
        await door.leave()
    for task in tasks:
        task.cancel()
    for task in done - {waiting}:
        task.result()  # a loop never ends by itself: say why it did
        raise RuntimeError(f"{task.get_coro()} came to an end")


def reply(
    status: int, body: bytes | str | Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """A JSON response; text and bytes are JSON already."""
    data = (
        body
        if isinstance(body, bytes)
        else (body if isinstance(body, str) else json.dumps(body)).encode()
    )
    return HttpResponse(status, data, dict(headers or {}))


def problem(status: int, why: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """An error as JSON."""
    return reply(status, {"error": why}, headers)


async def every(
    interval_s: float,
    step: Callable[[], Awaitable[None]],
    settled: Callable[[], bool] = lambda: True,
) -> None:
    """Call `step` each `interval_s`, never two at once, and without piling up after a stall; more
    often until it is `settled`.
    """
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        await step()
        due = max(due + (interval_s if settled() else min(interval_s, _EAGER_S)), loop.time())
        await asyncio.sleep(due - loop.time())


def failure_kind(error: BaseException) -> Probe:
    """A timeout is silence; everything else is a refusal."""
    return Probe.SILENT if isinstance(error, TimeoutError) else Probe.REFUSED
