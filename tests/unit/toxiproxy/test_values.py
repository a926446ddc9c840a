"""What the client refuses, what it makes of answers, and how Go's JSON and addresses are read."""

import os
from pathlib import Path

import pytest

from stormgate.toxiproxy import build
from stormgate.toxiproxy.embedded import address
from stormgate.toxiproxy.embedded.gojson import BodyError, Fields, first_value, shortest_float32
from stormgate.toxiproxy.errors import (
    AlreadyExists,
    InvalidRequest,
    ProxyNotFound,
    RequestRejected,
    ServerFailed,
    ServerWedged,
    ToxicNotFound,
    UnexpectedAnswer,
)
from stormgate.toxiproxy.transport import Transport, rejection
from stormgate.toxiproxy.types import (
    ATTRIBUTES,
    Proxy,
    ProxySpec,
    Toxic,
    check_name,
    check_spec,
    check_toxic,
    split_address,
)


@pytest.mark.parametrize(
    ("type_", "attributes", "stream", "toxicity", "says"),
    [
        ("latncy", {}, "downstream", 1, "unknown toxic type 'latncy'; one of bandwidth, latency"),
        (
            "latency",
            {"latncy": 1},
            "downstream",
            1,
            "unknown attribute 'latncy': latency has only latency, jitter",
        ),
        ("noop", {"x": 1}, "downstream", 1, "unknown attribute 'x': noop has none"),
        ("latency", {"latency": -1}, "downstream", 1, "latency.latency must be between 0 and"),
        ("latency", {"latency": 2**63}, "downstream", 1, "latency.latency must be between 0 and"),
        (
            "latency",
            {"latency": 1.0},
            "downstream",
            1,
            "latency.latency must be an integer, not 1.0",
        ),
        (
            "latency",
            {"latency": True},
            "downstream",
            1,
            "latency.latency must be an integer, not True",
        ),
        (
            "latency",
            {"latency": "1"},
            "downstream",
            1,
            "latency.latency must be an integer, not '1'",
        ),
        ("slicer", {}, "downstream", 1, "slicer.average_size must be at least 1"),
        ("slicer", {"average_size": 0}, "downstream", 1, "slicer.average_size must be at least 1"),
        (
            "slicer",
            {"average_size": 5, "size_variation": 5},
            "downstream",
            1,
            "size_variation 5 must be below",
        ),
        ("noop", {}, "down", 1, "stream 'down' must be upstream or downstream"),
        ("noop", {}, "downstream", 1.01, "toxicity 1.01 must be between 0 and 1"),
        ("noop", {}, "downstream", -0.1, "toxicity -0.1 must be between 0 and 1"),
        ("noop", {}, "downstream", float("nan"), "toxicity nan must be between 0 and 1"),
        ("noop", {}, "downstream", True, "toxicity True must be between 0 and 1"),
        (
            "timeout",
            {"x": 1},
            "y",
            2,
            "'x': timeout has only timeout; stream 'y' must be upstream or downstream; toxi",
        ),
    ],
)
def test_a_toxic_is_refused_with_every_reason(type_, attributes, stream, toxicity, says):
    with pytest.raises(InvalidRequest) as caught:
        check_toxic(type_, attributes, stream, toxicity)
    assert says in str(caught.value)


@pytest.mark.parametrize("type_", sorted(ATTRIBUTES))
def test_a_good_toxic_passes(type_):
    attributes = dict.fromkeys(ATTRIBUTES[type_], 5) | (
        {"size_variation": 2} if type_ == "slicer" else {}
    )
    for toxicity in (0, 0.5, 1):
        check_toxic(type_, attributes, "upstream", toxicity)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", "\x7f"])
def test_names_that_do_not_survive_a_path(name):
    with pytest.raises(InvalidRequest):
        check_name(name, "proxy")


@pytest.mark.parametrize(
    "spec",
    [
        ProxySpec("a", "host"),
        ProxySpec("a", "host:0"),
        ProxySpec("a", ":80"),
        ProxySpec("a", "host:65536"),
        ProxySpec("a", "host:http"),
        ProxySpec("a", "::1:80"),
        ProxySpec("a", "host:80", listen="8080"),
        ProxySpec("", "host:80"),
    ],
)
def test_a_proxy_that_could_never_work(spec):
    with pytest.raises(InvalidRequest):
        check_spec(spec)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        (":0", ("", 0)),
        ("a.b:65535", ("a.b", 65535)),
    ],
)
def test_addresses(text, parts):
    assert split_address(text) == parts
    assert address.split(text) == parts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "address nonsense: missing port in address"),
        ("1:2:3", "address 1:2:3: too many colons in address"),
        ("a:99999", "address 99999: invalid port"),
        ("a:http", "lookup tcp/http: unknown port"),
    ],
)
def test_listen_errors_are_go_s(text, says):
    with pytest.raises(address.ListenError, match=says):
        address.split(text)


# What the real server answers, and its library on its behalf.
@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (
            503,
            b"<html><head><title>Timeout</title></head><body><h1>Timeout</h1></body></html>",
            ServerWedged,
        ),
        (503, b"", ServerWedged),
        (404, b'{"error":"proxy not found","status":404}\n', ProxyNotFound),
        (404, b'{"error":"toxic not found","status":404}\n', ToxicNotFound),
        (404, b"404 page not found\n", UnexpectedAnswer),
        (404, b'{"error":"no such page"}', RequestRejected),
        (403, b"User agent not allowed\n", UnexpectedAnswer),
        (405, b"", UnexpectedAnswer),
        (409, b'{"error":"proxy already exists","status":409}', AlreadyExists),
        (400, b'{"error":"bad request body: EOF","status":400}', RequestRejected),
        (500, b'{"error":"listen tcp: bind","status":500}', ServerFailed),
        (500, b"<html>Internal Server Error</html>", UnexpectedAnswer),
        (502, b"[]", UnexpectedAnswer),
    ],
)
def test_every_refusal_has_its_type(status, body, error):
    assert type(rejection(status, body, "GET /x")) is error


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"name": "a", "listen": "x", "upstream": "y"},
        {"name": "a", "listen": "x", "upstream": "y", "enabled": "yes"},
        {"name": "a", "listen": "x", "upstream": "y", "enabled": True, "toxics": [1]},
    ],
)
def test_what_is_not_a_proxy(data):
    with pytest.raises(UnexpectedAnswer):
        Proxy.from_json(data)


def test_noxious_calls_the_stream_direction():
    data = {"name": "a", "type": "noop", "direction": "upstream", "toxicity": 1, "attributes": None}
    assert Toxic.from_json(data) == Toxic("a", "noop", "upstream", 1.0, {})
    with pytest.raises(UnexpectedAnswer):
        Toxic.from_json({**data, "direction": "sideways"})


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8474", "https://x:1", "http://", "http://x:1/path", "http://x:99999"]
)
def test_a_url_that_is_none(url):
    with pytest.raises(InvalidRequest, match="Toxiproxy URL"):
        Transport(url, 1)


@pytest.mark.parametrize(
    ("body", "value"),
    [(b" 5 6", 5), (b'{"a": 1} rest', {"a": 1}), (b"null", None), (b'"\xff"', "�")],
)
def test_go_reads_the_first_value(body, value):
    assert first_value(body) == value


@pytest.mark.parametrize("body", [b"", b"  ", b"{", b"NaN", b"nonsense", b"[" * 100_000])
def test_what_go_cannot_read(body):
    with pytest.raises(BodyError):
        first_value(body)


def test_go_fields():
    fields = Fields(
        {"NAME": "x", "n": 2**63 - 1, "f": 0.1, "null": None, "big": 1e300, "b": True}, "T"
    )
    assert fields.text("name", "d") == "x"
    assert fields.text("null", "d") == "d"
    assert fields.integer("n", 0) == 2**63 - 1
    assert fields.flag("b", False) is True
    assert shortest_float32(fields.float32("f", 1)) == 0.1
    for read in (
        lambda: fields.integer("f", 0), lambda: fields.integer("b", 0), lambda: fields.float32("b", 0),  # noqa: E501
        lambda: fields.float32("big", 0), lambda: fields.text("n", ""), lambda: fields.flag("n", False),  # noqa: E501
        lambda: Fields([], "T"),
    ):  # fmt: skip
        with pytest.raises(BodyError):
            read()


@pytest.mark.parametrize("text", ["0", "1", "0.1", "0.25", "0.3333333", "1e-07"])
def test_a_float32_reads_back_as_written(text):
    value = shortest_float32(Fields({"f": float(text)}, "T").float32("f", 1))
    assert value == float(text)
    assert isinstance(value, int) == (text in {"0", "1"})


def test_the_cache_is_the_first_folder_that_can_be_written(tmp_path: Path):
    home, xdg = tmp_path / "home", tmp_path / "xdg"
    assert build.cache_root({"HOME": str(home), "XDG_CACHE_HOME": str(xdg)}) == xdg
    assert build.cache_root({"HOME": str(home)}) == home / ".cache"
    assert build.cache_root({"HOME": str(home), "XDG_CACHE_HOME": "relative"}) == home / ".cache"
    blocked = tmp_path / "file"
    blocked.write_text("")
    fallback = build.cache_root({"HOME": str(blocked)})
    assert fallback.stat().st_uid == os.getuid()
    assert fallback.stat().st_mode & 0o022 == 0
    assert build.VERSION in str(build.cache_path({"HOME": str(home)}))


def test_a_planted_temporary_cache_is_not_used(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    planted = tmp_path / f"stormgate-cache-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert build.cache_root({}) != planted
    planted.chmod(0o700)
    assert build.cache_root({}) == planted
