"""Metrics of one process, in the Prometheus text format at `GET /metrics`: requests and errors,
latency, cache, database connections, inference time, cost, CPU, memory and disk.

Health checks and the metrics themselves are not counted: nobody's requests.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Any

from stormgate.net.httpserver import Handler, HttpRequest, HttpResponse

# Upper bounds of the latency histogram, s.
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
STATUSES = ("2xx", "3xx", "4xx", "5xx")
_UNCOUNTED = frozenset({"/healthz", "/metrics"})
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Meter:
    """Counts what goes through a handler, and answers `GET /metrics` itself."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.owner: Any = getattr(handler, "__self__", None)
        self.statuses: Counter[str] = Counter(dict.fromkeys(STATUSES, 0))
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.seconds = 0.0
        self.cache: Counter[str] = Counter(hit=0, miss=0)
        self.inference_s: dict[str, float] = {}
        self.inferences: Counter[str] = Counter()
        self.cost_usd = 0.0

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """One request, counted when it has been answered."""
        if request.path == "/metrics":
            return HttpResponse(200, self.page().encode(), content_type=_TYPE)
        if request.path in _UNCOUNTED:
            return await self._handler(request)
        began = time.monotonic()
        response = await self._handler(request)
        self.count(response, time.monotonic() - began)
        return response

    def count(self, response: HttpResponse, took_s: float) -> None:
        """Take one answer in."""
        self.statuses[f"{response.status // 100}xx"] += 1
        self.buckets[bisect_left(BUCKETS_S, took_s)] += 1
        self.seconds += took_s
        said = response.headers
        if (found := said.get("x-chenu-cache")) in self.cache:
            self.cache[str(found)] += 1
        if (model := said.get("x-chenu-model")) is not None:
            self.inferences[model] += 1
            took_ms = float(said.get("x-chenu-model-ms", 0))
            self.inference_s[model] = self.inference_s.get(model, 0.0) + took_ms / 1e3
            self.cost_usd += float(said.get("x-chenu-cost", 0))

    def page(self) -> str:
        """All of it as text."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        yield "# TYPE chenu_requests_total counter"
        for status, count in sorted(self.statuses.items()):
            yield f'chenu_requests_total{{status="{status}"}} {count}'
        yield "# TYPE chenu_request_duration_seconds histogram"
        below = 0
        for bound, count in zip((*BUCKETS_S, "+Inf"), self.buckets, strict=True):
            below += count
            yield f'chenu_request_duration_seconds_bucket{{le="{bound}"}} {below}'
        yield f"chenu_request_duration_seconds_sum {self.seconds:.6f}"
        yield f"chenu_request_duration_seconds_count {below}"
        yield "# TYPE chenu_cache_total counter"
        for result, count in self.cache.items():
            yield f'chenu_cache_total{{result="{result}"}} {count}'
        yield "# TYPE chenu_inference_seconds summary"
        for model, count in self.inferences.items():
            yield f'chenu_inference_seconds_sum{{model="{model}"}} {self.inference_s[model]:.6f}'
            yield f'chenu_inference_seconds_count{{model="{model}"}} {count}'
        yield "# TYPE chenu_cost_usd_total counter"
        yield f"chenu_cost_usd_total {self.cost_usd:.6f}"
        yield from self._process()

    def _process(self) -> Iterator[str]:
        connections = getattr(self.owner, "database_connections", None)
        if connections is not None:
            yield "# TYPE chenu_database_connections gauge"
            yield f"chenu_database_connections {connections()}"
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield "# TYPE process_cpu_seconds_total counter"
        yield f"process_cpu_seconds_total {used.ru_utime + used.ru_stime:.3f}"
        yield "# TYPE process_resident_memory_bytes gauge"
        yield f"process_resident_memory_bytes {_resident_bytes()}"
        disk = shutil.disk_usage("/")
        yield "# TYPE node_filesystem_avail_bytes gauge"
        yield f"node_filesystem_avail_bytes {disk.free}"
        yield f"node_filesystem_size_bytes {disk.total}"
        yield "# TYPE chenu_tasks gauge"
        yield f"chenu_tasks {len(asyncio.all_tasks())}"


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
