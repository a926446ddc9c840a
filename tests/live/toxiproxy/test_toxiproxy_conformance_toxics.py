"""The HTTP API of toxics, for the real Toxiproxy and the embedded server alike."""

import pytest
from tests.live.toxiproxy.kit import error_of

pytestmark = pytest.mark.live

NOWHERE = "127.0.0.1:1"


def test_toxic_defaults(toxi, proxy):
    reply = toxi.raw("POST", "/proxies/web/toxics", {"type": "slow_close"})
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json == {
        "attributes": {"delay": 0}, "name": "slow_close_downstream", "type": "slow_close", "stream": "downstream",  # noqa: E501
        "toxicity": 1,
    }  # fmt: skip
    assert toxi.raw("GET", "/proxies/web/toxics/slow_close_downstream").json == reply.json


@pytest.mark.parametrize(
    ("type_", "attributes"),
    [
        ("latency", {"latency": 5, "jitter": 2}),
        ("bandwidth", {"rate": 9}),
        ("slow_close", {"delay": 3}),
        ("timeout", {"timeout": 4}),
        ("reset_peer", {"timeout": 4}),
        ("slicer", {"average_size": 9, "size_variation": 2, "delay": 1}),
        ("limit_data", {"bytes": 8}),
        ("noop", {}),
    ],
)
@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_every_toxic_reads_back(toxi, type_, attributes, stream):
    toxi.client.create("web", NOWHERE)
    body = {"type": type_, "stream": stream, "name": "x", "toxicity": 0.1, "attributes": attributes}
    reply = toxi.raw("POST", "/proxies/web/toxics", body)
    assert (reply.status, reply.json) == (200, body)
    assert toxi.raw("GET", "/proxies/web/toxics").json == [body]
    assert toxi.client.update_toxic("web", "x", attributes, toxicity=0.7).toxicity == pytest.approx(
        0.7
    )


def test_toxics_are_listed_upstream_first(toxi, proxy):
    toxi.client.add_toxic("web", "noop", {}, name="second")
    toxi.client.add_toxic("web", "noop", {}, stream="upstream")
    assert [toxic.name for toxic in toxi.client.toxics("web")] == [
        "noop_upstream",
        "latency_downstream",
        "second",
    ]
    assert error_of(toxi.raw("GET", "/proxies/none/toxics")) == "proxy not found"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"type": "nonsense"}, 400, "invalid toxic type"),
        ({}, 400, "invalid toxic type"),
        (
            {"type": "noop", "stream": "x"},
            400,
            "stream was invalid, can be either upstream or downstream",
        ),
        ({"type": "latency"}, 409, "toxic already exists"),
        (
            {"type": "noop", "stream": "upstream", "name": "latency_downstream"},
            409,
            "toxic already exists",
        ),
        (b"", 400, "bad request body: EOF"),
        ({"type": "noop", "attributes": 5}, 400, "bad request body: "),
        ({"type": "noop", "toxicity": 1e300}, 400, "bad request body: "),
        ({"type": "noop", "toxicity": "1"}, 400, "bad request body: "),
        ({"type": "timeout", "attributes": {"timeout": 1.5}}, 400, "bad request body: "),
        (b'{"type": "timeout", "attributes": {"timeout": 1.0}}', 400, "bad request body: "),
        ({"type": "timeout", "attributes": {"timeout": "1"}}, 400, "bad request body: "),
        ({"type": "timeout", "attributes": {"timeout": True}}, 400, "bad request body: "),
        ({"type": "timeout", "attributes": {"timeout": 2**63}}, 400, "bad request body: "),
    ],
)
def test_toxic_refused(toxi, proxy, body, status, message):
    reply = toxi.raw("POST", "/proxies/web/toxics", body)
    assert reply.status == status
    assert error_of(reply).startswith(message)
    assert [toxic.name for toxic in toxi.client.toxics("web")] == ["latency_downstream"]
    assert error_of(toxi.raw("POST", "/proxies/none/toxics", body)) == "proxy not found"


def test_what_the_server_accepts_without_a_word(toxi, proxy):
    """Why our client checks before it sends: none of this does what was meant."""
    body = {
        "type": "timeout",
        "toxicity": 7,
        "stream": "UPSTREAM",
        "attributes": {"timout": 5, "timeout": -3},
    }
    reply = toxi.raw("POST", "/proxies/web/toxics", body)
    assert reply.status == 200
    assert (reply.json["attributes"], reply.json["toxicity"]) == ({"timeout": -3}, 7)
    assert (reply.json["stream"], reply.json["name"]) == ("UPSTREAM", "timeout_UPSTREAM")


def test_slicer_of_size_zero(toxi, proxy):
    """The real server takes it and dies of the first byte (tested apart); the embedded one says
    no.
    """
    reply = toxi.raw("POST", "/proxies/web/toxics", {"type": "slicer"})
    assert reply.status == (200 if toxi.real else 400)


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_toxic_update_changes_attributes_and_toxicity_alone(toxi, proxy, method):
    change = {
        "name": "x",
        "type": "timeout",
        "stream": "upstream",
        "toxicity": 0.3,
        "attributes": {"jitter": 2},
    }
    reply = toxi.raw(method, "/proxies/web/toxics/latency_downstream", change)
    assert reply.status == 200
    assert reply.json == {
        "attributes": {"latency": 7, "jitter": 2}, "name": "latency_downstream", "type": "latency",
        "stream": "downstream", "toxicity": 0.3,
    }  # fmt: skip
    assert toxi.raw(method, "/proxies/web/toxics/latency_downstream", b"{}").json == reply.json


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_toxic_update_refused(toxi, proxy, method):
    path = "/proxies/web/toxics/latency_downstream"
    assert error_of(toxi.raw(method, "/proxies/none/toxics/x", {})) == "proxy not found"
    assert error_of(toxi.raw(method, "/proxies/web/toxics/x", {})) == "toxic not found"
    reply = toxi.raw(method, path, {"attributes": {"latency": 9, "jitter": "x"}})
    assert reply.status == 400
    # The real server has changed the latency by then.
    assert toxi.raw("GET", path).json["attributes"]["latency"] == (9 if toxi.real else 7)


def test_toxic_removal(toxi, proxy):
    path = "/proxies/web/toxics/latency_downstream"
    reply = toxi.raw("DELETE", path)
    assert (reply.status, reply.text) == (204, "")
    assert error_of(toxi.raw("DELETE", path)) == "toxic not found"
    assert error_of(toxi.raw("GET", path)) == "toxic not found"
    assert error_of(toxi.raw("DELETE", "/proxies/none/toxics/x")) == "proxy not found"
