"""Against servers people use: every answer is taken for what it is, and the server was asked
exactly as often as is recorded.
"""

import collections
import contextlib
import shutil
import socket
import sys
import time
import urllib.request
from pathlib import Path

import gevent
import pytest
from tests.live.load_engine import Bench, counts
from tests.live.popular_servers import CHUNKS

from stormgate.load import get, post
from stormgate.system.processes import spawn, stop

pytestmark = pytest.mark.live
SITE = Path(__file__).with_name("popular_servers.py")


@contextlib.contextmanager
def site(kind, tmp_path):
    log = tmp_path / "site.log"
    process = spawn([sys.executable, "-W", "ignore", SITE, kind], log_path=log)
    try:
        deadline = time.monotonic() + 30
        while not (log.exists() and log.read_text().strip()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"http://127.0.0.1:{log.read_text().split()[0]}"
    finally:
        stop(process, 2.0)


@pytest.mark.parametrize("kind", ["aiohttp", "uvicorn"])
def test_every_answer_is_taken_for_what_it_is(kind, tmp_path):
    bodies = collections.Counter()

    def flow(_session):
        bodies[(yield get("/hello", timeout_s=20)).body] += 1
        bodies[(yield get("/chunked", timeout_s=20)).body] += 1
        bodies[(yield post("/echo", json={"n": 1}, timeout_s=20)).body] += 1

    with site(kind, tmp_path) as url, Bench(url) as bench:
        streams = [bench.stream(flow, rate=5) for _ in range(20)]
        bench.wait(lambda: bench.engine.counters.completed >= 300, within=60)
        for stream in streams:
            bench.engine.remove_stream(stream)
        bench.wait(lambda: bench.engine.in_flight == 0, within=60)
        rows = bench.finish()
        asked = counts(url)
    assert {row["outcome"] for row in rows} == {"ok"}
    assert len(rows) == sum(asked[path] for path in ("/hello", "/chunked", "/echo"))
    assert set(bodies) == {b"hello", b"".join(CHUNKS), b'{"n":1}'}
    assert bench.errors == []


NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 50;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello"; }} location = /status {{ stub_status; }} }}
  server {{ listen 127.0.0.1:{proxied} proxy_protocol; location / {{ return 200 $proxy_protocol_addr; }} }}
}}
"""  # noqa: E501
needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


@contextlib.contextmanager
def nginx(tmp_path):
    """The base URL of a server that closes a connection after 50 requests, and of one that is
    spoken to through a proxy.
    """
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("127.0.0.1", 0))
        ports = [probe.getsockname()[1] for probe in (one, two)]
    config = tmp_path / "nginx.conf"
    config.write_text(NGINX.format(folder=tmp_path, port=ports[0], proxied=ports[1]))
    process = spawn(["nginx", "-c", config, "-p", tmp_path], log_path=tmp_path / "log")
    url, proxied = (f"http://127.0.0.1:{port}" for port in ports)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url + "/hello", timeout=1).close()
                break
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            gevent.sleep(0.05)
        yield url, proxied
    finally:
        stop(process, 5.0)


@needs_nginx
def test_nginx_closing_every_fifty_requests_costs_no_request(tmp_path):
    with nginx(tmp_path) as (url, _):
        before = requests_served(url)
        with Bench(url) as bench:
            stream = bench.stream(lambda _s: (yield get("/hello", timeout_s=20)), rate=800)
            bench.wait(lambda: bench.engine.counters.completed >= 1000, within=60)
            bench.engine.remove_stream(stream)
            bench.wait(lambda: bench.engine.in_flight == 0, within=60)
            rows = bench.finish()
        assert {row["outcome"] for row in rows} == {"ok"}
        assert requests_served(url) - before - 1 == len(rows)


@needs_nginx
def test_nginx_takes_the_proxy_line_for_the_user(tmp_path):
    def flow(_session):
        first = yield get("/")
        second = yield get("/")
        return first.text, second.text

    with nginx(tmp_path) as (_, proxied), Bench(proxied, proxy_source="192.0.2.7") as bench:
        rows, users = bench.play(flow)
    assert [row["outcome"] for row in rows] == ["ok", "ok"]
    assert users == ("192.0.2.7", "192.0.2.7")
    assert (
        bench.engine.counters.new_connections == 1
    )  # the line is sent once a connection: a second would be a bad request


def requests_served(url):
    """nginx's own count of requests, this one included."""
    with urllib.request.urlopen(url + "/status", timeout=10) as answer:
        return int(answer.read().split()[9])
