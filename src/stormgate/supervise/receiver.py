"""`python -m stormgate.supervise.receiver HOST:PORT`: what the target tells the harness while a run
lasts, into readings.ndjson.

`POST /v1/traces` takes OTLP/HTTP in JSON: each span is a row of traces.ndjson.
`POST /alerts` takes Alertmanager's webhook (version 4): each alert is a reading of `alert/NAME`, 1
while it fires and 0 when it is resolved. A reading of `receiver` each second says that somebody was
there to be told: without it, no alert is no silence of the target's.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from stormgate.evidence.laws import trace_problem
from stormgate.evidence.write import READINGS, TRACES, Journal
from stormgate.net import httpserver
from stormgate.net.httpserver import HttpRequest, HttpResponse
from stormgate.system.processes import die_with_parent

ALERTS = "/alerts"
SPANS = "/v1/traces"
# OTLP's kinds of spans that are sides of a call; all others are within a process.
_KINDS = {2: "server", "SPAN_KIND_SERVER": "server", 3: "client", "SPAN_KIND_CLIENT": "client"}
_ERRORS = (2, "STATUS_CODE_ERROR")
_STATUS = ("http.response.status_code", "http.status_code")
HEARTBEAT = "receiver"
HEARTBEAT_S = 1.0
_LONGEST_NAME = 100


def alert_rows(body: bytes, at_ns: int) -> list[dict[str, Any]]:
    """The readings in a webhook's payload. Raises ValueError for what is none."""
    try:
        alerts = json.loads(body)["alerts"]
        told = [(str(a["labels"]["alertname"]), str(a["status"])) for a in alerts]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no Alertmanager webhook: {type(error).__name__} {error}") from error
    if strange := [s for name, s in told if s not in ("firing", "resolved") or not name.strip()]:
        raise ValueError(f"no Alertmanager webhook: status {strange[0]!r}")
    return [
        {
            "at_ns": at_ns,
            "probe": f"alert/{name[:_LONGEST_NAME]}",
            "value": 1.0 if status == "firing" else 0.0,
            "error": None,
        }
        for name, status in told
    ]


def span_rows(body: bytes, at_ns: int) -> list[dict[str, Any]]:
    """The rows of the spans in an ExportTraceServiceRequest as JSON. Raises ValueError for what is
    none. Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
    """
    try:
        return [
            _span_row(span, _said(resource.get("resource", {})), at_ns)
            for resource in json.loads(body)["resourceSpans"]
            for scope in resource.get("scopeSpans", ())
            for span in scope.get("spans", ())
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"no OTLP traces: {type(error).__name__} {error}") from error


def _span_row(span: Any, resource: dict[str, Any], at_ns: int) -> dict[str, Any]:
    said = _said(span)
    status = next((said[key] for key in _STATUS if key in said), 0)
    row = {
        "at_ns": at_ns,
        "trace": str(span["traceId"]).lower(),
        "span": str(span["spanId"]).lower(),
        "parent": str(span.get("parentSpanId") or "").lower(),
        "kind": _KINDS.get(span.get("kind"), "internal"),
        "status": int(status),
        "service": str(resource.get("service.name", ""))[:_LONGEST_NAME],
        "name": str(span.get("name", ""))[:_LONGEST_NAME],
        "error": (span.get("status") or {}).get("code") in _ERRORS,
        **_times(span),
    }
    if (problem := trace_problem(row)) is not None:
        raise ValueError(problem)
    return row


def _times(span: Any) -> dict[str, Any]:
    """When the span began by the clock of who tells it, and how long it took; nothing where it says
    no such thing. OTLP writes 64-bit numbers as text.
    """
    try:
        began, ended = (int(span[f"{end}TimeUnixNano"]) for end in ("start", "end"))
    except (KeyError, TypeError, ValueError):
        return {}
    if not 0 < began <= ended:
        return {}
    return {"begin_unix_ns": began, "duration_ms": (ended - began) / 1e6}


def _said(of: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span or a resource: each value has its type as a key."""
    return {a["key"]: next(iter(a["value"].values()), None) for a in of.get("attributes", ())}


class TargetReceiver:
    """Takes what is told, and writes it down before it says so."""

    def __init__(self, journal: Journal, spans: Journal) -> None:
        self._journal = journal
        self._spans = spans

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """One request of the target's."""
        if request.path == "/healthz":
            return HttpResponse(200, b"{}")
        taken = {ALERTS: (alert_rows, self._journal), SPANS: (span_rows, self._spans)}
        if request.path not in taken or request.method != "POST":
            return HttpResponse(404, b'{"error": "POST /alerts or /v1/traces"}')
        if "json" not in request.headers.get("content-type", "json"):
            said = "JSON is understood alone: set OTEL_EXPORTER_OTLP_PROTOCOL=http/json"
            return HttpResponse(415, json.dumps({"error": said}).encode())
        rows_of, journal = taken[request.path]
        at_ns = time.monotonic_ns()
        try:
            rows = rows_of(request.body, at_ns)
        except ValueError as error:
            said = str(error)[:300]
            self._journal.append({"at_ns": at_ns, "probe": HEARTBEAT, "value": None, "error": said})
            return HttpResponse(400, json.dumps({"error": said}).encode())
        for row in rows:
            journal.append(row)
        return HttpResponse(200, b"{}")

    async def beat(self) -> None:
        """Say once a second that somebody is here."""
        while True:
            row = {"at_ns": time.monotonic_ns(), "probe": HEARTBEAT, "value": 1.0, "error": None}
            self._journal.append(row)
            await asyncio.sleep(HEARTBEAT_S)


async def receive(host: str, port: int, folder: Path) -> None:
    """Serve until told to end. Raises OSError when the port is taken."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopping.set)
    with Journal(folder / READINGS) as journal, Journal(folder / TRACES) as spans:
        receiver = TargetReceiver(journal, spans)
        async with httpserver.serving(receiver.handle, host, port):
            beat = asyncio.create_task(receiver.beat())
            await stopping.wait()
            beat.cancel()


def main() -> int:
    """See the module."""
    die_with_parent(death_signal=signal.SIGTERM)
    host, _, port = sys.argv[1].rpartition(":")
    try:
        asyncio.run(receive(host, int(port), Path(os.environ["STORMGATE_EVIDENCE"])))
    except OSError as error:
        print(f"stormgate.supervise.receiver: {sys.argv[1]}: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
