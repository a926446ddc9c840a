"""What `lab status` says of links and shards, from the lab's own document and a server of links
that answers (a real one, on loopback).
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from stormgate.commands.gameday.lines import primaries, told_faults, told_links

PROXIES = {
    "a->b": {
        "enabled": True,
        "toxics": [{"name": "distance_up", "type": "latency", "stream": "upstream"}],
    },
    "b->c": {"enabled": False, "toxics": []},
    "c->d": {
        "enabled": True,
        "toxics": [
            {
                "name": "stormgate_1f_up",
                "type": "latency",
                "stream": "upstream",
                "attributes": {"latency": 40},
            }
        ],
    },
    "d->e": {"enabled": True, "toxics": []},
}


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(PROXIES).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


def link(url, proxy, rtt_ms):
    source, _, destination = proxy.partition("->")
    return {
        "name": f"link:{proxy}",
        "kind": "link",
        "handle": {"url": url, "proxy": proxy},
        "attributes": {"source": source, "destination": destination, "rtt_ms": rtt_ms},
    }


def test_a_link_says_its_distance_and_what_a_fault_made_of_it(server):
    links = [link(server, "a->b", "64"), link(server, "b->c", "0"), link(server, "c->d", "0")]
    links += [link(server, "d->e", "0"), link(server, "e->f", "8")]
    assert list(told_links({"components": links})) == [
        "a -> b: 64 ms round trip",
        "b -> c: 0 ms round trip, refusing",
        "c -> d: 0 ms round trip, latency upstream {'latency': 40}",
        "e -> f: 8 ms round trip, gone",
        "1 more links add no distance, and are as they were made",
    ]


def test_a_server_that_does_not_answer_is_no_healthy_link():
    told = list(told_links({"components": [link("http://127.0.0.1:9", "a->b", "0")]}))
    assert told == ["a -> b: 0 ms round trip, its server does not answer"]


def test_who_is_primary_of_what():
    databases = [
        {"name": name, "kind": "database", "attributes": {"shard": shard}}
        for name, shard in (("eu/db", "eu"), ("us/db", "eu"), ("us/own", "us"))
    ]
    seen = {"eu/db": {"role": "standby"}, "us/db": {"role": "primary"}}
    assert list(primaries({"components": databases}, seen)) == [
        "shard eu, primary: us/db (standby: eu/db)",
        "shard us, primary: nobody (unknown: us/own)",
    ]


def test_no_fault_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert list(told_faults("t")) == ["no fault stands"]
