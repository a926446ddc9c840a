"""A region's service as edges see it where it is scaled: it deals requests to its instances, counts
them, starts and ends instances, and has each answer say what it cost.
"""

from __future__ import annotations

import asyncio
import collections
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from stormgate.lab.design.autoscaling import Autoscaler, Scaling
from stormgate.lab.design.health import Probe
from stormgate.lab.design.prices import Bill
from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services.httpclient import HttpPeer
from stormgate.lab.services.scaling import instance
from stormgate.lab.services.scaling.nest import Born, Nest
from stormgate.lab.services.serving import Running, every, problem, reply
from stormgate.net.httpserver import HttpRequest, HttpResponse

_LOOK_S = 0.1
_DECIDE_S = 0.25
# Over so long the rate is counted, s.
_RATE_S = 2.0
# An instance that is dealt nothing any more has so long to answer what it has, s.
_LEAVES_S = 1.5
_SAID = ("cache-control", "etag")


@dataclass(eq=False)
class Seat:
    """An instance as its pool sees it."""

    born: Born
    peer: HttpPeer
    ready: bool = False
    leaving: bool = False
    inside: int = 0


class InstancePool:
    """State of one region's pool; `config` is the service's, and how it is scaled."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.region: str = config["region"]
        self.settings = LabSettings.from_json(config["settings"])
        self.scaling = Scaling.from_json(config["scaling"])
        self.autoscaler = Autoscaler(self.scaling)
        self.nest = Nest(partial(instance.main, config))
        self.seats: list[Seat] = []
        self.bill = Bill(time.monotonic())
        self.begun_s: float | None = None
        self._asked_s: collections.deque[float] = collections.deque()
        self._goodbyes: set[asyncio.Task[None]] = set()

    @property
    def staying(self) -> list[Seat]:
        """Those that are not about to end."""
        return [seat for seat in self.seats if not seat.leaving]

    @property
    def ready(self) -> list[Seat]:
        """Those that can be dealt requests."""
        return [seat for seat in self.staying if seat.ready]

    @property
    def paid_per_s(self) -> float:
        """The capacity that is paid for: from an instance's start to its end."""
        return len(self.seats) * self.scaling.capacity_per_s

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request by one of the instances. Never a second try."""
        if request.path == "/instances":
            return reply(200, self.instances())
        ready = self.ready
        if not ready:
            return problem(503, "no instance is ready")
        if request.path == "/healthz":
            return await self._passed(ready[0], request)
        now_s = time.monotonic()
        # Whoever operates the lab reads past the edges: that is no load, and begins no day.
        if "x-chenu-user" in request.headers:
            self.begun_s = now_s if self.begun_s is None else self.begun_s
            self._asked_s.append(now_s)
        answer = await self._passed(min(ready, key=lambda seat: seat.inside), request)
        answer.headers["x-chenu-cost"] = f"{self.cost_usd():.6g}"
        return answer

    def instances(self) -> dict[str, Any]:
        """How many there are, and what those that are ready can serve."""
        return {
            "ready": len(self.ready),
            "starting": len(self.staying) - len(self.ready),
            "capacity_per_s": len(self.ready) * self.scaling.capacity_per_s,
            "rate_per_s": self.rate_per_s(),
            "pids": [seat.born.pid for seat in self.seats],
        }

    def rate_per_s(self) -> float:
        """Requests of the last two seconds."""
        least_s = time.monotonic() - _RATE_S
        while self._asked_s and self._asked_s[0] < least_s:
            self._asked_s.popleft()
        return len(self._asked_s) / _RATE_S

    def cost_usd(self) -> float:
        """What an answer given now says it cost."""
        return self.bill.answered(time.monotonic(), self.paid_per_s)

    async def look(self) -> None:
        """Ask each instance whether it is ready."""
        await asyncio.gather(*(self._look(seat) for seat in self.staying))

    async def decide(self) -> None:
        """Have as many as there ought to be."""
        standing = len(self.staying)
        if not standing:
            self.start(self.scaling.least, 0.0)
            return
        now_s = time.monotonic()
        wanted = self.autoscaler.step(now_s, self.begun_s, self.rate_per_s(), standing)
        if wanted > standing:
            self.start(wanted - standing, self.settings.instance_start_s)
        for seat in self.staying[wanted:]:
            self.end(seat)
        if wanted != standing:
            print(f"{now_s:.3f} {wanted} instances, {standing} before", flush=True)

    def start(self, count: int, starts_in_s: float) -> None:
        """So many more."""
        self.bill.stands(time.monotonic(), self.paid_per_s)
        for _ in range(count):
            with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
                port: int = sock.getsockname()[1]
                born = self.nest.born(sock, starts_in_s)
            self.seats.append(Seat(born, HttpPeer("127.0.0.1", port)))

    def end(self, seat: Seat) -> None:
        """Deal it nothing more, and let it go once it has answered what it has."""
        seat.leaving = True
        task = asyncio.create_task(self._goodbye(seat))
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)

    async def _goodbye(self, seat: Seat) -> None:
        end_s = time.monotonic() + _LEAVES_S
        while seat.inside and time.monotonic() < end_s:
            await asyncio.sleep(_LOOK_S)
        seat.born.end()
        seat.peer.close()
        self.bill.stands(time.monotonic(), self.paid_per_s)
        self.seats.remove(seat)

    async def _look(self, seat: Seat) -> None:
        result, _ = await seat.peer.probe("/healthz", timeout_s=self.settings.probe_timeout_s)
        if result is Probe.REFUSED and seat.ready and not seat.leaving:
            print(f"{time.monotonic():.3f} instance {seat.born.pid} is gone", flush=True)
            self.end(seat)
        seat.ready = result is Probe.OK

    async def _passed(self, seat: Seat, request: HttpRequest) -> HttpResponse:
        along = {k: v for k, v in request.headers.items() if k.startswith("x-chenu-")}
        seat.inside += 1
        try:
            answer = await seat.peer.request(
                request.method,
                request.target,
                headers=along,
                body=request.body,
                timeout_s=self.settings.edge_timeout_s,
            )
        except OSError as error:  # TimeoutError is one too
            late = isinstance(error, TimeoutError)
            why = f"an instance in {self.region} is {'late' if late else 'gone'}"
            return problem(504 if late else 502, why, {"x-chenu-region": self.region})
        finally:
            seat.inside -= 1
        said = {k: v for k, v in answer.headers.items() if k.startswith("x-chenu-") or k in _SAID}
        return reply(answer.status, answer.body, said)


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of a pool."""
    return run(InstancePool(config))


def run(pool: InstancePool) -> Running:
    """The handler and loops of this one."""
    pool.start(pool.scaling.least, 0.0)
    return pool.handle, [every(_LOOK_S, pool.look), every(_DECIDE_S, pool.decide)]
