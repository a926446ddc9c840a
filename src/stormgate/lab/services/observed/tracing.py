"""Traces of one process: a span for each request it serves and for each it makes on the way, told
over OTLP/HTTP in JSON. Context goes from hop to hop as W3C `traceparent`.

What went well is kept one time in a hundred, what failed or was slow always (tail sampling, each
process for itself: who failed a request also fails it towards its caller).
"""

from __future__ import annotations

import itertools
import json
import os
import time
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from stormgate.lab.services.httpclient import OUTGOING, HttpPeer, Outgoing
from stormgate.net.httpserver import Handler, HttpRequest, HttpResponse

EXPORT_S = 0.3
_TIMEOUT_S = 1.0
_KEPT_EVERY = 100
_SLOW_NS = 500_000_000
_MOST_KEPT = 10_000
_UNTRACED = frozenset({"/healthz", "/metrics"})
# OTLP: kinds of spans, and the status of one that failed.
_SERVER, _CLIENT, _ERROR = 2, 3, 2

_context: ContextVar[RequestTrace | None] = ContextVar("trace", default=None)


class RequestTrace:
    """The trace of one request in this process: its own span, and those of the requests it made."""

    def __init__(self, trace: str, parent: str) -> None:
        self.trace = trace
        self.parent = parent
        self.span = os.urandom(8).hex()
        self.spans: list[dict[str, Any]] = []

    def add(self, span: str, parent: str, name: str, kind: int, began_ns: int, status: int) -> None:
        """One finished span; `status` 0: no answer."""
        self.spans.append(
            {
                "traceId": self.trace,
                "spanId": span,
                "parentSpanId": parent,
                "name": name,
                "kind": kind,
                "startTimeUnixNano": str(began_ns),
                "endTimeUnixNano": str(time.time_ns()),
                "attributes": [
                    {"key": "http.response.status_code", "value": {"intValue": str(status)}}
                ],
                "status": {"code": _ERROR} if status == 0 or status >= 500 else {},
            }
        )


class TracedCall(Outgoing):
    """A request on its way to another process of the lab."""

    def __init__(self, trace: RequestTrace, name: str) -> None:
        self._trace = trace
        self._name = name
        self._span = os.urandom(8).hex()
        self._began_ns = time.time_ns()
        self.headers = {"traceparent": f"00-{trace.trace}-{self._span}-01"}

    def ended(self, status: int) -> None:
        trace = self._trace
        trace.add(self._span, trace.span, self._name, _CLIENT, self._began_ns, status)


def outgoing(name: str) -> Outgoing | None:
    """What goes along with a request made now; None outside a traced one."""
    trace = _context.get()
    return None if trace is None else TracedCall(trace, name)


class Tracer:
    """Wraps a handler, and tells what it saw."""

    def __init__(self, handler: Handler, name: str, endpoint: str) -> None:
        self._handler = handler
        self._name = name
        parts = urlsplit(endpoint)
        self._peer = HttpPeer(str(parts.hostname), parts.port or 80)
        self._path = parts.path
        self._untold: list[dict[str, Any]] = []
        self._served = itertools.count(1)

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """One request. A failed answer of the first process says its trace (`x-chenu-trace`)."""
        if request.path in _UNTRACED:
            return await self._handler(request)
        came = self.context_of(request)
        trace = RequestTrace(*(came or (os.urandom(16).hex(), "")))
        began_ns, token = time.time_ns(), _context.set(trace)
        try:
            response = await self._handler(request)
        finally:
            _context.reset(token)
        status = response.status
        name = f"{request.method} /{request.path.split('/')[1]}"
        trace.add(trace.span, trace.parent, name, _SERVER, began_ns, status)
        slow = time.time_ns() - began_ns > _SLOW_NS
        if status >= 500 or slow or next(self._served) % _KEPT_EVERY == 0:
            self._untold += trace.spans
            del self._untold[:-_MOST_KEPT]
        if status >= 500 and came is None:
            response.headers["x-chenu-trace"] = trace.trace
        return response

    def context_of(self, request: HttpRequest) -> tuple[str, str] | None:
        """(trace, parent span) that a request came with; None where it is the first."""
        parts = request.headers.get("traceparent", "").split("-")
        return (parts[1], parts[2]) if len(parts) == 4 else None

    async def export(self) -> None:
        """Tell what there is. What nobody took is told again the next time."""
        spans = self._untold[:500]
        if not spans:
            return
        service = {"key": "service.name", "value": {"stringValue": self._name}}
        payload = {
            "resourceSpans": [
                {
                    "resource": {"attributes": [service]},
                    "scopeSpans": [{"scope": {"name": "chenu"}, "spans": spans}],
                }
            ]
        }
        try:
            answer = await self._peer.request(
                "POST",
                self._path,
                headers={"content-type": "application/json"},
                body=json.dumps(payload).encode(),
                timeout_s=_TIMEOUT_S,
            )
        except OSError:
            return
        if answer.status < 300:
            del self._untold[: len(spans)]


def traced(handler: Handler, name: str, endpoint: str) -> Tracer:
    """The tracer of a process, of its own kind where its program says one; from now on requests it
    makes are traced too.
    """
    if outgoing not in OUTGOING:
        OUTGOING.append(outgoing)
    owner = getattr(handler, "__self__", None)
    owner = getattr(owner, "owner", owner)  # a meter may stand before the program
    found: Tracer = getattr(owner, "tracer", Tracer)(handler, name, endpoint)
    return found
