"""What flows yield and receive: requests, headers, replies."""

import gzip
import json
from typing import Any

import brotli
import pytest

from stormgate.load import get, post, request, think
from stormgate.load.engine.pool import Pools
from stormgate.load.engine.stream import Session
from stormgate.load.engine.table import parse_table, steer
from stormgate.load.flow import Reply
from stormgate.load.http.head import header_block
from stormgate.load.http.response import ends_at_close, parse_message
from stormgate.model import Outcome, Population
from stormgate.net.allow import AllowList
from stormgate.net.origin import parse_origin


def place(name="london", edges=("a", "b", "c"), **more):
    links = {edge: f"http://{edge}.test:81/base" for edge in edges}
    population = Population(
        name=name, share=1, latitude=0, longitude=0, edges=edges, links=links, **more
    )
    return Pools(population, 0, links)


def test_equal_requests_are_made_once():
    assert get("/threads", name="list", timeout_s=2) is get("/threads", name="list", timeout_s=2)
    assert get("/threads", name="list") is not get("/threads", name="other")
    assert post("/threads", json={"a": 1}) is not post("/threads", json={"a": 1})


def test_a_head_carries_host_population_and_length():
    pool = place(headers={"X-Forwarded-For": "192.0.2.7"}).current
    head = post("/threads", json={"a": 1}, headers={"X-Id": "5"}).head_for(pool)
    assert head == (
        b"POST /base/threads HTTP/1.1\r\nHost: a.test:81\r\nUser-Agent: "
        b"stormgate\r\nX-Forwarded-For: 192.0.2.7\r\n"
        b"X-Id: 5\r\nContent-Type: application/json\r\nContent-Length: 7\r\n"
    )


def test_a_get_has_no_length_and_a_post_without_body_says_so():
    pool = place().current
    assert b"Content-Length" not in get("/x").head_for(pool)
    assert b"Content-Length: 0\r\n" in post("/x").head_for(pool)


@pytest.mark.parametrize("headers", [{"a": "b\r\nc: d"}, {"a\n": "b"}, {"": "b"}, {"a: b": "c"}])
def test_a_header_cannot_break_out_of_its_line(headers):
    with pytest.raises(ValueError, match="line break or no name"):
        header_block(headers)
    with pytest.raises(ValueError, match="line break or no name"):
        get("/x", headers=headers)


@pytest.mark.parametrize("path", ["/x\r\nEvil: 1", "/a b", "threads", "http://elsewhere/x"])
def test_a_path_cannot_leave_its_line_or_its_host(path):
    with pytest.raises(ValueError, match="path"):
        get(path)


def test_two_bodies_are_refused():
    with pytest.raises(ValueError, match="not both"):
        post("/x", json={}, data=b"x")


def test_op_and_name_defaults():
    assert (get("/x").op, post("/x").op, request("HEAD", "/x").op, request("DELETE", "/x").op) == (
        "read",
        "write",
        "read",
        "write",
    )
    assert post("/search", op="read").op == "read"
    assert get("/x").name == "/x"


def test_session_headers_end_the_head():
    session = Session(place().model, 0, 1)
    assert session.block == b"\r\n"
    session.set_header("Authorization", "Bearer 1")
    session.set_header("authorization", "Bearer 2")
    assert session.block == b"authorization: Bearer 2\r\n\r\n"
    session.set_header("Authorization", None)
    assert session.block == b"\r\n"


def test_sessions_pick_data_by_seed():
    picks = [
        [Session(place().model, 0, seed).random.random() for _ in range(3)] for seed in (1, 1, 2)
    ]
    assert picks[0] == picks[1] != picks[2]


CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2\r\n\r\n5\r\n{"a":\r\n3\r\n 1}\r\n0\r\n\r\n'  # noqa: E501


def test_a_reply_is_parsed_when_asked():
    reply = Reply(get("/x"), Outcome.OK, 200, CHUNKED, 1_000_000, 3_500_000)
    assert reply.json() == {"a": 1}
    assert reply.headers["x-a"] == "1, 2"
    assert reply.latency_ms == 2.5
    assert reply.ok


def test_an_informational_response_does_not_count():
    raw = (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    assert parse_message(raw) == ({"content-length": "2"}, b"ok")


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_encodings_are_undone_only_when_asked(encoding, pack):
    body = pack(json.dumps({"a": 1}).encode())
    raw = (
        f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: "
        f"{len(body)}\r\n\r\n".encode()
        + body
    )
    assert Reply(get("/x", decode=True), Outcome.OK, 200, raw, 0, 0).json() == {"a": 1}
    assert Reply(get("/x"), Outcome.OK, 200, raw, 0, 0).body == body
    assert b"Accept-Encoding: gzip, br\r\n" in get("/x", decode=True).head_for(place().current)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nabc", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", False),
        (b"HTTP/1.1 200 OK\r\nSer", False),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Le", False),  # cut off within its head
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"", False),
    ],
)
def test_which_responses_end_with_their_connection(raw, expected):
    assert ends_at_close(raw) is expected


@pytest.mark.parametrize("url", ["ftp://a", "a:80", "http://", "http://a/?q=1", "http://a:99999"])
def test_base_urls_are_checked(url):
    with pytest.raises(ValueError):  # noqa: PT011 - urlsplit has words of its own for a port
        parse_origin(url)


def test_origins():
    assert parse_origin("http://[::1]:81/x/").netloc == "[::1]:81"
    assert parse_origin("https://a.test").port == 443
    assert parse_origin("https://a.test").netloc == "a.test"


@pytest.mark.parametrize(
    ("host", "address", "expected"),
    [
        ("x", "127.0.0.1", True),
        ("x", "::1", True),
        ("x", "10.1.2.3", False),
        ("API.test.", "10.1.2.3", True),
        ("x", "fe80::1%eth0", False),
    ],
)
def test_the_allow_list(host, address, expected):
    assert AllowList(("127.0.0.0/8", "::1/128", "api.test")).permits(host, address) is expected
    assert AllowList(None).permits(host, address)


def test_steering_moves_new_requests_and_names_the_pool_that_was_left():
    here = place()
    left = here.current
    assert steer({"london": here}, {"london": ("b", "a"), "nobody": ("a",)}) == (
        {"london": "b"},
        [left],
    )
    assert here.current.edge == "b"
    assert (left.wanted, here.current.wanted) == (False, True)
    assert steer({"london": here}, {"london": ("b", "a")}) == ({}, [])
    assert steer({"london": here}, {"london": ("nowhere",)}) == (
        {},
        [],
    )  # unknown edges cannot be dialled
    assert here.next_after(here.current).edge == "a"
    assert here.next_after(here.pools["c"]).edge == "b"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"populations": []}',
        b'{"populations": {"a": "b"}}',
        b'{"populations": {"a": [1]}}',
    ],
)
def test_a_broken_table_is_refused(body):
    with pytest.raises(ValueError):  # noqa: PT011 - json has words of its own
        parse_table(body)


def test_a_table():
    assert parse_table(b'{"version": 3, "populations": {"a": ["x", "y"]}}') == (
        3,
        {"a": ("x", "y")},
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("expect", 200),
        ("expect", "200"),
        ("expect", ("200",)),
        ("data", {"a": 1}),
        ("data", [1]),
        ("retry", 3),
        ("redirects", "x"),
        ("redirects", True),
        ("redirects", -1),
        ("check", "x"),
        ("timeout_s", "1"),
        ("timeout_s", None),
        ("connect_timeout_s", "1"),
        ("name", 5),
        ("headers", {"a": 1}),
        ("headers", "a: b"),
    ],
)
def test_an_option_of_another_kind_is_refused_where_it_is_written(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=option):
        get("/a", **{option: value})


@pytest.mark.parametrize("seconds", ["1", None, -0.2, float("nan"), float("inf"), True])
def test_a_pause_is_a_length_of_time(seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="think takes seconds"):
        think(seconds)
