"""One suite for the real Toxiproxy and the embedded server: the HTTP API of server and proxies, row
by row.

Toxics over HTTP and what they do to connections are in the files beside this one. Where the two
servers differ on purpose (docs/toxiproxy.md) a test says so with `toxi.real`.
"""

import json
import socket
import subprocess
import sys
import time

import pytest
from tests.live.toxiproxy.kit import Upstream, error_of, running, wait_until

from stormgate.toxiproxy.server import EMBEDDED_VERSION

pytestmark = pytest.mark.live

NOWHERE = "127.0.0.1:1"


def known(body: dict) -> dict:
    """Without the real server's accidental `Logger`."""
    return {key: value for key, value in body.items() if key != "Logger"}


# -- the server


def test_version(toxi):
    reply = toxi.raw("GET", "/version")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json;charset=utf-8")
    assert reply.text == f'{{"version": "{"2.12.0" if toxi.real else EMBEDDED_VERSION}"}}\n'


def test_browsers_are_refused(toxi):
    reply = toxi.raw("GET", "/version", agent="Mozilla/5.0 (X11)")
    assert (reply.status, reply.text) == (403, "User agent not allowed\n")
    assert reply.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/proxies/", 404),
        ("GET", "/proxies/web/toxics/", 404),
        ("PUT", "/proxies", 405),
        ("PUT", "/proxies/web", 405),
        ("POST", "/version", 405),
        ("GET", "/reset", 405),
        ("GET", "/metrics", 404),
    ],
)
def test_unknown_routes_and_methods(toxi, proxy, method, path, status):
    assert toxi.raw(method, path).status == status


def test_request_id_only_on_matched_routes(toxi):
    first, second = (
        toxi.raw("GET", "/proxies/none").headers["x-toxiproxy-request-id"] for _ in range(2)
    )
    assert first != second
    assert "x-toxiproxy-request-id" not in toxi.raw("GET", "/nothing").headers


def received(toxi, proxy: str) -> dict[str, float]:
    """The counter of received bytes by direction."""
    lines = [
        line for line in toxi.raw("GET", "/metrics").text.splitlines() if f'proxy="{proxy}"' in line
    ]
    mine = [line for line in lines if line.startswith("toxiproxy_proxy_received_bytes_total{")]
    return {line.split('direction="')[1].split('"')[0]: float(line.split()[-1]) for line in mine}


def test_metrics_with_the_flag(shared, tmp_path):
    with running(
        shared.kind, tmp_path / "log", "-proxy-metrics" if shared.real else "--proxy-metrics"
    ) as toxi:
        upstream = Upstream()
        try:
            name = toxi.proxy(upstream.address)
            with toxi.connect(name) as sock:
                sock.sendall(b"12345")
                assert sock.recv(5)
            # The real server counts when a connection closes; the embedded one must not forget it
            # then.
            assert wait_until(lambda: received(toxi, name) == {"upstream": 5, "downstream": 5})
            time.sleep(0.1)
            assert received(toxi, name) == {"upstream": 5, "downstream": 5}
        finally:
            upstream.close()


# -- proxies


def test_list_is_keyed_by_name(toxi, proxy):
    toxi.client.create("api", NOWHERE)
    reply = toxi.raw("GET", "/proxies")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert set(reply.json) == {"api", "web"}
    assert reply.json["web"]["toxics"][0]["name"] == "latency_downstream"
    assert known(reply.json["web"]) == known(toxi.raw("GET", "/proxies/web").json)


def test_create_defaults(toxi):
    reply = toxi.raw(
        "POST", "/proxies", {"name": "a", "upstream": "no.such.host:80", "listen": "127.0.0.1:0"}
    )
    assert (reply.status, reply.headers["content-type"]) == (201, "application/json")
    port = int(reply.json["listen"].rpartition(":")[2])
    assert port > 0
    assert known(reply.json) == {
        "name": "a", "listen": f"127.0.0.1:{port}", "upstream": "no.such.host:80", "enabled": True, "toxics": [],  # noqa: E501
    }  # fmt: skip


def test_create_without_listen_takes_every_interface(toxi):
    reply = toxi.raw("POST", "/proxies", {"name": "a", "upstream": NOWHERE})
    toxi.client.delete("a")
    assert reply.json["listen"].startswith("[::]:")
    assert not reply.json["listen"].endswith(":0")


def test_create_disabled_and_by_host_name(toxi):
    made = toxi.raw(
        "POST",
        "/proxies",
        {"name": "a", "upstream": NOWHERE, "listen": "localhost:0", "enabled": False},
    )
    assert (made.json["enabled"], made.json["listen"]) == (False, "localhost:0")
    listen = toxi.raw("PATCH", "/proxies/a", {"enabled": True}).json["listen"]
    assert listen.startswith("127.0.0.1:")
    assert not listen.endswith(":0")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"upstream": "x:1"}, "missing required field: name"),
        ({"name": "", "upstream": "x:1"}, "missing required field: name"),
        ({"name": "a"}, "missing required field: upstream"),
        (b"", "bad request body: EOF"),
        (b"nonsense", "bad request body: "),
        (b'{"name": "a"', "bad request body: "),
        ([], "bad request body: "),
        ({"name": 5, "upstream": "x:1"}, "bad request body: "),
        ({"name": "a", "upstream": "x:1", "enabled": "yes"}, "bad request body: "),
    ],
)
def test_create_refused(toxi, body, message):
    reply = toxi.raw("POST", "/proxies", body)
    assert reply.status == 400
    assert error_of(reply).startswith(message)
    assert toxi.client.proxies() == {}


def test_go_reads_json_its_own_way(toxi):
    body = b'{"NAME": "a", "Upstream": "x:1", "listen": "127.0.0.1:0", "enabled": null, "other": [1.5]} trailing'  # noqa: E501
    reply = toxi.raw("POST", "/proxies", body)
    assert reply.status == 201
    assert reply.json["enabled"] is True


def test_create_conflicts(toxi, proxy):
    reply = toxi.raw("POST", "/proxies", {"name": "web", "upstream": NOWHERE})
    assert (reply.status, error_of(reply)) == (409, "proxy already exists")


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:99999", "192.0.2.1:0", "taken"])
def test_create_cannot_listen(toxi, listen):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if listen == "taken":
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
        reply = toxi.raw("POST", "/proxies", {"name": "a", "upstream": NOWHERE, "listen": listen})
    assert reply.status == 500
    assert error_of(reply).startswith("listen tcp")
    assert toxi.client.proxies() == {}


def test_show(toxi, proxy):
    assert toxi.raw("GET", "/proxies/web").json["name"] == "web"
    reply = toxi.raw("GET", "/proxies/none")
    assert (reply.status, error_of(reply)) == (404, "proxy not found")


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_update(toxi, proxy, method):
    before = toxi.client.get("web")
    reply = toxi.raw(
        method, "/proxies/web", {"name": "other", "upstream": "127.0.0.1:2", "enabled": False}
    )
    assert reply.status == 200
    assert (reply.json["name"], reply.json["upstream"], reply.json["enabled"]) == (
        "web",
        "127.0.0.1:2",
        False,
    )
    assert reply.json["listen"] == before.listen
    assert len(reply.json["toxics"]) == 1
    assert toxi.raw(method, "/proxies/web", {"enabled": True}).json["listen"] == before.listen
    assert toxi.raw(method, "/proxies/web", b"{}").json["upstream"] == "127.0.0.1:2"


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_update_refused(toxi, proxy, method):
    assert error_of(toxi.raw(method, "/proxies/none", {})) == "proxy not found"
    reply = toxi.raw(method, "/proxies/web", {"enabled": 1})
    assert reply.status == 400
    assert error_of(reply).startswith("bad request body: ")
    assert toxi.raw(method, "/proxies/web", {"listen": "nonsense"}).status == 500


def test_an_update_to_the_same_listen_keeps_it(toxi, proxy):
    before = toxi.client.get("web")
    port = before.address[1]
    for listen in (before.listen, f"localhost:{port}"):
        assert toxi.raw("PATCH", "/proxies/web", {"listen": listen}).json["listen"] == before.listen
    moved = toxi.raw("PATCH", "/proxies/web", {"listen": "127.0.0.1:0"})
    assert moved.json["listen"] != before.listen
    assert not moved.json["listen"].endswith(":0")


def test_delete(toxi, proxy):
    reply = toxi.raw("DELETE", "/proxies/web")
    assert (reply.status, reply.text) == (204, "")
    assert error_of(toxi.raw("DELETE", "/proxies/web")) == "proxy not found"


# -- populate


def spec(name: str, **more) -> dict:
    return {"name": name, "upstream": NOWHERE, "listen": "127.0.0.1:0", **more}


def test_populate(toxi):
    reply = toxi.raw("POST", "/populate", [spec("a"), spec("b", enabled=False)])
    assert (reply.status, reply.headers["content-type"]) == (201, "application/json")
    assert [(item["name"], item["enabled"]) for item in reply.json["proxies"]] == [
        ("a", True),
        ("b", False),
    ]
    assert set(reply.json) == {"proxies"}


def test_populate_nothing_is_null(toxi):
    reply = toxi.raw("POST", "/populate", [])
    assert (reply.status, reply.json) == (201, {"proxies": None})


def test_populate_keeps_what_is_the_same_and_replaces_what_is_not(toxi, proxy):
    before = toxi.client.get("web")
    same = toxi.raw("POST", "/populate", [spec("web", listen=before.listen, enabled=False)])
    assert (same.json["proxies"][0]["enabled"], len(same.json["proxies"][0]["toxics"])) == (True, 1)
    other = toxi.raw(
        "POST", "/populate", [spec("web", listen=before.listen, upstream="127.0.0.1:2")]
    )
    assert (other.json["proxies"][0]["upstream"], other.json["proxies"][0]["toxics"]) == (
        "127.0.0.1:2",
        [],
    )


@pytest.mark.parametrize(
    ("items", "status", "message", "made"),
    [
        ([spec("a"), {"name": "b"}], 400, "missing required field: upstream at proxy 2", []),
        ([spec("a"), {"upstream": NOWHERE}], 400, "missing required field: name at proxy 2", []),
        (
            [spec("a"), spec("b", listen="192.0.2.1:0"), spec("c")],
            500,
            "listen tcp 192.0.2.1:0",
            ["a"],
        ),
        ({}, 400, "bad request body: ", []),
        (["a"], 400, "bad request body: ", []),
    ],
)
def test_populate_says_how_far_it_came(toxi, items, status, message, made):
    reply = toxi.raw("POST", "/populate", items)
    assert (reply.status, reply.headers["content-type"]) == (status, "application/json")
    assert reply.json["error"].startswith(message)
    assert reply.json["status"] == status
    assert [item["name"] for item in reply.json["proxies"] or ()] == made
    assert list(toxi.client.proxies()) == made


# -- reset


def test_reset_enables_all_removes_toxics_deletes_nothing(toxi, proxy):
    toxi.client.create("off", NOWHERE, enabled=False)
    reply = toxi.raw("POST", "/reset")
    assert (reply.status, reply.text) == (204, "")
    assert {name: (item.enabled, item.toxics) for name, item in toxi.client.proxies().items()} == {
        "web": (True, ()),
        "off": (True, ()),
    }


def test_reset_with_one_that_cannot_start(toxi):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        toxi.client.create("bad", NOWHERE, f"127.0.0.1:{taken.getsockname()[1]}", enabled=False)
        for index in range(8):
            toxi.client.create(f"good{index}", NOWHERE)
            toxi.client.add_toxic(f"good{index}", "noop", {})
        reply = toxi.raw("POST", "/reset")
        assert reply.status == 500
        assert "address already in use" in error_of(reply)
        left = [name for name, item in toxi.client.proxies().items() if item.toxics]
        assert toxi.real or left == []


# -- a client that is not ours

SCRIPT = """
import json, sys
import toxiproxy
from toxiproxy.exceptions import NotFound, ProxyExists
server = toxiproxy.Toxiproxy()
server.update_api_consumer("127.0.0.1", int(sys.argv[1]))
proxy = server.create(upstream="127.0.0.1:1", name="theirs")
proxy.add_toxic(type="latency", attributes={"latency": 25})
toxics = {name: toxic.attributes for name, toxic in proxy.toxics().items()}
with proxy.down():
    down = server.get_proxy("theirs").enabled
up = server.get_proxy("theirs").enabled
proxy.destroy_toxic("latency_downstream")
left = len(proxy.toxics())
server.populate([{"name": "more", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0"}])
names = sorted(server.proxies())
server.destroy_all()
print(json.dumps([server.running(), toxics, down, up, left, names, sorted(server.proxies())]))
"""


def test_toxiproxy_python_works_unchanged(toxi):
    port = toxi.running.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, port],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    toxics = {"latency_downstream": {"latency": 25, "jitter": 0}}
    assert json.loads(done.stdout) == [True, toxics, False, True, 0, ["more", "theirs"], []]
