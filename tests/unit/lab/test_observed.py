"""What the lab says of itself, over loopback: metrics of a process, the rules, and who is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.lab.test_inference import free_port, until

from stormgate.documents import load_target
from stormgate.evidence.laws import reading_problem, trace_problem
from stormgate.evidence.write import READINGS, Journal
from stormgate.judge.rules.spans import broken_at, by_trace
from stormgate.lab.defects.running.alert_silent import SilentAlerter
from stormgate.lab.defects.running.metric_lies import LyingMeter
from stormgate.lab.defects.running.trace_broken import ForgetfulTracer
from stormgate.lab.design.alerts import AlertBook, Scrape
from stormgate.lab.design.plan import plan
from stormgate.lab.services.httpclient import HttpPeer
from stormgate.lab.services.observed.alerter import Alerter
from stormgate.lab.services.observed.meter import Meter
from stormgate.lab.services.observed.tracing import Tracer, traced
from stormgate.net import httpserver
from stormgate.net.exposition import summed
from stormgate.net.httpserver import HttpRequest, HttpResponse
from stormgate.supervise.receiver import TargetReceiver, alert_rows, span_rows

ROOT = Path(__file__).parents[3]


async def some(request: HttpRequest) -> HttpResponse:
    """Answers with the status asked for."""
    headers = {"x-chenu-cache": "hit", "x-chenu-model": "core", "x-chenu-model-ms": "600"}
    return HttpResponse(int(request.path[1:] or 200), b"{}", {**headers, "x-chenu-cost": "0.01"})


async def healthy(request: HttpRequest) -> HttpResponse:
    return HttpResponse(200, b"{}") if request.path == "/healthz" else await some(request)


async def asked(meter: Meter, *statuses: int) -> str:
    port = free_port()
    async with httpserver.serving(meter.answer, port=port):
        peer = HttpPeer("127.0.0.1", port)
        for status in statuses:
            assert (await peer.request("GET", f"/{status}", timeout_s=5)).status == status
        await peer.request("GET", "/healthz", timeout_s=5)
        page = await peer.request("GET", "/metrics", timeout_s=5)
        peer.close()
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    return page.body.decode()


def test_a_meter_counts_answers_and_nothing_else() -> None:
    text = asyncio.run(asked(Meter(healthy), 200, 200, 404, 503))
    counted = {
        s: summed(text, "chenu_requests_total", {"status": s}) for s in ("2xx", "4xx", "5xx")
    }
    assert counted == {"2xx": 2, "4xx": 1, "5xx": 1}, "neither a health check nor a scrape"
    assert summed(text, "chenu_request_duration_seconds_count", {}) == 4
    assert summed(text, "chenu_request_duration_seconds_bucket", {"le": "+Inf"}) == 4
    assert summed(text, "chenu_cache_total", {"result": "hit"}) == 4
    assert summed(text, "chenu_inference_seconds_sum", {"model": "core"}) == pytest.approx(2.4)
    assert summed(text, "chenu_cost_usd_total", {}) == pytest.approx(0.04)
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes"):
        assert (summed(text, name, {}) or 0) > 0
    assert summed(text, "chenu_database_connections", {}) is None, "it has no databases"


def test_a_fresh_meter_says_zero_not_nothing() -> None:
    text = asyncio.run(asked(Meter(healthy)))
    assert summed(text, "chenu_requests_total", {"status": "5xx"}) == 0


def test_the_lying_meter_lies() -> None:
    text = asyncio.run(asked(LyingMeter(healthy), *[503] * 10, *[200] * 10))
    assert summed(text, "chenu_requests_total", {}) == 15
    assert summed(text, "chenu_requests_total", {"status": "5xx"}) == 0


def scrapes(errors: list[float], *, step_s: float = 0.5, per_turn: float = 50) -> list[Scrape]:
    made, failed = [], 0.0
    for turn, more in enumerate(errors, start=1):
        failed += more
        made.append(Scrape(turn * step_s, {"e": turn * per_turn, "s": 9e9 * turn}, {"e": failed}))
    return made


def played(errors: list[float], **how: float) -> list[tuple[float, str, str]]:
    book = AlertBook(frozenset("e"), frozenset(("e", "s")))
    return [
        (scrape.at_s, change["labels"]["alertname"], change["status"])
        for scrape in scrapes(errors, **how)
        for change in book.take(scrape)
    ]


def test_the_alert_on_errors_waits_fires_and_is_resolved() -> None:
    quiet = [0.0] * 10
    found = played([*quiet, *[10.0] * 6, *quiet, *quiet])
    assert [(name, status) for _, name, status in found] == [
        ("ErrorRateHigh", "firing"),
        ("ErrorRateHigh", "resolved"),
    ]
    (began, ended) = (at for at, _, _ in found)
    assert 5.5 <= began <= 7
    assert 10 <= ended <= 15, "three seconds of memory, and two without"


@pytest.mark.parametrize(
    ("errors", "how"),
    [
        ([0.0] * 30, {}),
        ([1.0, *[0.0] * 29], {}),
        ([*[0.0] * 9, *[0.5] * 20], {}),  # one in a hundred
        ([0.0, *[1.0] * 20], {"per_turn": 1.0}),  # too few to be a rate
    ],
)
def test_what_is_no_high_rate_of_errors_fires_nothing(
    errors: list[float], how: dict[str, float]
) -> None:
    assert played(errors, **how) == []


def test_an_instance_that_does_not_answer_and_a_counter_that_began_anew() -> None:
    book = AlertBook(frozenset("e"), frozenset(("e", "s")))
    found = []
    for turn in range(1, 30):
        there = {"e": turn * 50.0, **({} if 5 <= turn < 15 else {"s": 1.0})}
        found += [c["status"] for c in book.take(Scrape(turn * 0.5, there, {"e": 0.0}))]
    assert found == ["firing", "resolved"]
    anew = AlertBook(frozenset("e"), frozenset("e"))
    for at, requests, errors in ((1, 1e6, 5e5), (1.5, 100, 0), (2, 200, 0), (2.5, 300, 0)):
        assert anew.take(Scrape(at, {"e": requests}, {"e": errors})) == []


def rows_of(folder: Path) -> list[dict[str, Any]]:
    text = (folder / READINGS).read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(("kind", "fires"), [(Alerter, True), (SilentAlerter, False)])
def test_errors_of_an_edge_are_told_to_the_harness(
    tmp_path: Path, kind: type[Alerter], fires: bool
) -> None:
    """A metered server, the alerter and the harness's receiver: three real parts on loopback."""

    async def go() -> None:
        served, told = free_port(), free_port()
        with Journal(tmp_path / READINGS) as journal:
            receiver = TargetReceiver(journal, journal)
            async with (
                httpserver.serving(Meter(healthy).answer, port=served),
                httpserver.serving(receiver.handle, port=told),
            ):
                beat = asyncio.create_task(receiver.beat())
                edge = {"name": "e", "kind": "edge", "host": "127.0.0.1", "port": served}
                hook = f"http://127.0.0.1:{told}/alerts"
                alerter = kind({"scraped": [edge], "webhook": hook})
                user = HttpPeer("127.0.0.1", served)
                for status in (200, 503, 503):  # the second and third turn see errors
                    for _ in range(30):
                        await user.request("GET", f"/{status}", timeout_s=5)
                    await alerter.turn()
                    await asyncio.sleep(0.55)
                await alerter.turn()
                await until(lambda: any(r["probe"] == "receiver" for r in rows_of(tmp_path)))
                beat.cancel()

    asyncio.run(go())
    rows = rows_of(tmp_path)
    assert [reading_problem(row) for row in rows] == [None] * len(rows)
    alerts = [(row["probe"], row["value"]) for row in rows if row["probe"] != "receiver"]
    assert alerts == ([("alert/ErrorRateHigh", 1.0)] if fires else [])


def test_what_nobody_took_is_told_again(tmp_path: Path) -> None:
    async def go() -> None:
        served, told = free_port(), free_port()
        edge = {"name": "e", "kind": "edge", "host": "127.0.0.1", "port": served}
        alerter = Alerter({"scraped": [edge], "webhook": f"http://127.0.0.1:{told}/alerts"})
        for _ in range(6):  # nothing answers: InstanceDown, and nobody is there to hear it
            await alerter.turn()
            await asyncio.sleep(0.45)
        assert json.loads((await alerter.handle(HttpRequest("GET", "/"))).body) == {"untold": 1}
        with Journal(tmp_path / READINGS) as journal:
            async with httpserver.serving(TargetReceiver(journal, journal).handle, port=told):
                await alerter.turn()
        assert json.loads((await alerter.handle(HttpRequest("GET", "/"))).body) == {"untold": 0}

    asyncio.run(go())
    assert [row["probe"] for row in rows_of(tmp_path)] == ["alert/InstanceDown"]


def test_alertmanagers_own_payload_is_understood_and_nothing_else() -> None:
    alert = {"status": "resolved", "labels": {"alertname": "Lag", "x": "y"}, "annotations": {}}
    body = {"version": "4", "groupKey": "{}", "status": "resolved", "alerts": [alert]}
    (row,) = alert_rows(json.dumps(body).encode(), 7)
    assert row == {"at_ns": 7, "probe": "alert/Lag", "value": 0.0, "error": None}
    for wrong in (b"", b"[]", b"{}", b'{"alerts": [{}]}', b'{"alerts": 3}'):
        with pytest.raises(ValueError, match="no Alertmanager webhook"):
            alert_rows(wrong, 7)
    with pytest.raises(ValueError, match="status 'maybe'"):
        alert_rows(json.dumps({"alerts": [{**alert, "status": "maybe"}]}).encode(), 7)


def test_a_failed_request_has_a_trace_from_the_first_process_to_the_last(tmp_path: Path) -> None:
    """Two traced processes, the second called by the first, and the harness's receiver."""

    async def go(tracer: type[Tracer]) -> tuple[str, dict[str, list[Any]]]:
        ports = [free_port() for _ in range(3)]
        endpoint = f"http://127.0.0.1:{ports[2]}/v1/traces"
        second = HttpPeer("127.0.0.1", ports[1])

        async def front(request: HttpRequest) -> HttpResponse:
            answer = await second.request("GET", request.target, timeout_s=5)
            return HttpResponse(answer.status, b"{}")

        first, last = traced(front, "edge", endpoint), tracer(some, "service", endpoint)
        spans = tmp_path / f"{tracer.__name__}.ndjson"
        with Journal(tmp_path / READINGS) as journal, Journal(spans) as told:
            async with (
                httpserver.serving(first.answer, port=ports[0]),
                httpserver.serving(last.answer, port=ports[1]),
                httpserver.serving(TargetReceiver(journal, told).handle, port=ports[2]),
            ):
                user = HttpPeer("127.0.0.1", ports[0])
                fine = await user.request("GET", "/200", timeout_s=5)
                assert "x-chenu-trace" not in fine.headers
                answer = await user.request("GET", "/503", timeout_s=5)
                await asyncio.gather(first.export(), last.export())
        rows = [json.loads(line) for line in spans.read_text().splitlines()]
        assert [trace_problem(row) for row in rows] == [None] * len(rows)
        return answer.headers["x-chenu-trace"], by_trace(rows)

    trace, known = asyncio.run(go(Tracer))
    assert sorted((s["service"], s["kind"], s["status"]) for s in known[trace]) == [
        ("edge", "client", 503),
        ("edge", "server", 503),
        ("service", "server", 503),
    ]
    assert broken_at(known[trace]) is None
    trace, known = asyncio.run(go(ForgetfulTracer))
    assert broken_at(known[trace]) == "ends at a call that was answered"


def test_what_is_no_trace_is_refused_and_told(tmp_path: Path) -> None:
    for wrong in (b"{", b"{}", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}'):
        with pytest.raises(ValueError, match="no OTLP traces"):
            span_rows(wrong, 7)

    async def go() -> list[int]:
        port = free_port()
        with Journal(tmp_path / READINGS) as journal:
            async with httpserver.serving(TargetReceiver(journal, journal).handle, port=port):
                peer = HttpPeer("127.0.0.1", port)
                found = []
                for path, kind in (("traces", "json"), ("traces", "x-protobuf"), ("logs", "json")):
                    answer = await peer.request(
                        "POST",
                        f"/v1/{path}",
                        headers={"content-type": f"application/{kind}"},
                        body=b"{}",
                        timeout_s=5,
                    )
                    found.append(answer.status)
                return found

    assert asyncio.run(go()) == [400, 415, 404]
    assert [row["value"] for row in rows_of(tmp_path)] == [None], "a failed reading of `receiver`"


def test_it_runs_only_where_it_is_asked_for() -> None:
    observed = plan(load_target(ROOT / "targets" / "lab-observed.yaml"))
    assert [p.name for p in observed.parts if p.kind == "alerter"] == ["alerter"]
    bare = plan(load_target(ROOT / "targets" / "lab.yaml"))
    assert not [p for p in bare.parts if p.kind == "alerter"]
