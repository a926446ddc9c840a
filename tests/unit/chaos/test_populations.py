"""Whether users are answered, over whatever link the target writes."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stormgate.chaos import probes
from stormgate.model import Component, Observe, Population, Steering, Target
from stormgate.net.allow import AllowList
from stormgate.net.fetch import Answer


@contextlib.contextmanager
def site(
    answers: dict[str, tuple[int, bytes]], context: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[tuple[str, dict[str, str]]]]]:
    """A server by path; its port, and who asked for what with which headers."""
    asked: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def target(link: str, **more: Any) -> Target:
    population = Population(
        name="everyone",
        share=1.0,
        latitude=0,
        longitude=0,
        edges=("home",),
        links={"home": link},
        headers=more.pop("headers", {}),
    )
    home = Component(
        name="home",
        kind="edge",
        backend="command",
        observe=Observe(protocol="http", address="127.0.0.1:1", path="/up"),
    )
    return Target(
        name="t", allow=("127.0.0.1/32",), populations=(population,), components=(home,), **more
    )


def answered(on: Target) -> tuple[bool, str]:
    seen = probes._all_answered(on, on.populations)
    return seen.seen, seen.saw


def test_a_link_with_a_path_and_a_reference_and_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    with site({"/base/up": (200, b"")}) as (port, asked):
        monkeypatch.setenv("EDGE", f"127.0.0.1:{port}")
        monkeypatch.setenv("TOKEN", "open sesame")
        on = target("http://${EDGE}/base", headers={"Authorization": "Bearer ${TOKEN}"})
        assert answered(on)[0]
        assert asked[0][0] == "/base/up"
        assert asked[0][1]["authorization"] == "Bearer open sesame"
        monkeypatch.delenv("EDGE")
        assert answered(on) == (False, "everyone -> home: ${EDGE} is not set")


@pytest.mark.parametrize(
    ("answers", "yes"),
    [
        ({"/up": (200, b"")}, True),
        ({}, True),
        ({"/up": (503, b"")}, False),
        ({"/up": (200, b"x" * 3_000_000)}, True),
    ],
    ids=["well", "not found", "unwell", "long"],
)
def test_answered_is_what_a_server_says_for_itself(
    answers: dict[str, tuple[int, bytes]], yes: bool
) -> None:
    with site(answers) as (port, _):
        assert answered(target(f"http://127.0.0.1:{port}"))[0] is yes


def test_a_link_without_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = []

    def asked(_: str, url: str, allow: AllowList, *args: Any, **more: Any) -> Answer:
        urls.append(url)
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(probes, "exchange", asked)
    assert answered(target("https://127.0.0.1")) == (False, "everyone -> home: nobody there")
    assert urls == ["https://127.0.0.1/up"]


def test_an_https_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = tmp_path / "pem"
    _self_signed(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with site({"/up": (200, b"")}, context) as (port, _):
        on = target(f"https://127.0.0.1:{port}")
        seen, why = answered(on)
        assert not seen
        assert "certificate" in why.lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert answered(on) == (True, "all are answered")


def test_a_link_that_leads_outside_is_not_asked() -> None:
    seen, why = answered(target("http://127.0.0.2:9"))
    assert not seen
    assert "nothing was sent" in why


@pytest.mark.parametrize(
    ("table", "asks"),
    [
        ({"populations": {"everyone": ["home"]}}, 1),
        ({"populations": {"everyone": []}}, 1),
        ({"populations": {"everyone": [["home"], 3]}}, 0),
        ({"populations": {"everyone": "home"}}, 1),
        ({"populations": ["everyone"]}, 1),
        ({"populations": None}, 1),
        ([], 1),
    ],
)
def test_a_steering_table_that_is_none_leaves_the_order_as_written(table: Any, asks: int) -> None:
    answers = {"/up": (200, b""), "/table": (200, json.dumps(table).encode())}
    with site(answers) as (port, asked):
        here = f"http://127.0.0.1:{port}"
        on = target(here, steering=Steering(mode="table", url=f"{here}/table"))
        assert answered(on)[0] is bool(asks)
        assert [path for path, _ in asked].count("/up") == asks


def _self_signed(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
