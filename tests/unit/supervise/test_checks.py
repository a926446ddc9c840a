"""What is looked at before a gate: each row against real servers on loopback, and each that is
wrong says what to do.
"""

import ipaddress
import json
import ssl
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stormgate.commands.check import command
from stormgate.commands.documents import lay_out
from stormgate.documents import load_gate
from stormgate.model import Component, Observe, Plan, Population, Steering, Target
from stormgate.supervise.checks import Suite, look_before, machine, there


class Answering(BaseHTTPRequestHandler):
    """Answers with the status that its path begins with."""

    def do_GET(self) -> None:
        status = int(self.path.strip("/").split("/")[0] or 200)
        body = json.dumps({"whole": "whole" in self.path, "why": "a node is down"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None: ...


@pytest.fixture(scope="module")
def there_is():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def plan(tmp_path, monkeypatch) -> Plan:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    lay_out(tmp_path / "shop", "shop")
    return load_gate(tmp_path / "shop" / "slas" / "release.yaml")


def user(url: str, **headers: str) -> Population:
    return Population(
        name="eu", share=1, latitude=0, longitude=0, edges=("a",), links={"a": url}, headers=headers
    )


@pytest.mark.parametrize(
    ("url", "ok", "saw", "fix"),
    [
        ("http://{}", True, "HTTP 200 after", ""),
        ("http://{}/404", True, "HTTP 404", ""),
        ("http://{}/503", False, "HTTP 503", "mend the edge"),
        ("http://127.0.0.1:1", False, "http://127.0.0.1:1 refused", "correct the port"),
        ("http://127.0.0.1:${{NO_PORT}}", False, "${NO_PORT} is not set", "export it"),
        ("http://127.0.9.9:1", False, "not in the target's allow", "add it to"),
        ("https://{}", False, "no TLS: ", "write http://"),
    ],
)
def test_an_edge_answers_or_it_is_said_why_not(there_is, url, ok, saw, fix):
    address = url.format(there_is)
    allow = ("127.0.0.1/32",)
    row = there.edge_row(
        "edge", address, Target(name="t", allow=allow, populations=(user(address),))
    )
    assert (row.ok, saw in row.saw) == (ok, True), row
    assert fix in row.fix or ok


def test_an_edge_is_asked_with_what_its_users_send(there_is):
    address = f"http://{there_is}"
    target = Target(name="t", populations=(user(address, Authorization="Bearer ${SHOP_TOKEN}"),))
    assert "${SHOP_TOKEN} is not set" in there.edge_row("edge", address, target).saw


@pytest.fixture
def secured(tmp_path):
    """A TLS server for 127.0.0.1 whose certificate ends in ten days, and that certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=10, hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "shop.pem"
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # a client that hangs up over the certificate
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", pem
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_is_verified_and_its_end_told(secured, monkeypatch):
    url, pem = secured
    target = Target(name="t", populations=(user(url),))
    row = there.edge_row("edge", url, target)
    assert not row.ok
    assert f"{url} certificate: self-signed certificate" in row.saw
    assert "SSL_CERT_FILE" in row.fix
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    row = there.edge_row("edge", url, target)
    assert row.ok, row
    assert "certificate good for 10 days" in row.saw


@pytest.mark.parametrize(
    ("address", "path", "ok", "fix"),
    [
        ("", "/200", True, ""),
        ("", "/500", False, "has to answer"),
        ("", "/404", False, "correct observe.path"),
        ("127.0.0.1:1", "/", False, "start it"),
    ],
)
def test_a_component_says_itself_that_it_is_healthy(there_is, address, path, ok, fix):
    observe = Observe(protocol="http", address=address or there_is, path=path)
    part = Component(name="web", kind="service", backend="group", observe=observe)
    (row,) = there.component_rows(part, (), Target(name="t"))
    assert (row.what, row.ok) == ("web: healthy", ok), row
    assert fix in row.fix


def test_what_a_backend_raises_is_a_row(there_is):
    part = Component(name="web", kind="service", backend="command", handle={})
    (row,) = there.component_rows(part, ("dim",), Target(name="t"))
    assert not row.ok
    assert "KeyError" in row.saw


@pytest.mark.parametrize(
    ("path", "ok"), [("/200/whole", True), ("/200/not", False), ("/404", False)]
)
def test_the_targets_own_word_counts(there_is, path, ok, plan, tmp_path):
    url = f"http://{there_is}{path}"
    target = Target(name="t", status_url=url, steering=Steering(mode="table", url=url))
    found = {r.what: r for r in there.rows(replace(plan, target=target, faults=()), tmp_path)}
    assert found["status"].ok is ok
    assert found["steering"].ok is (path != "/404")


def test_secrets_and_room_are_looked_at(plan, tmp_path):
    assert all(row.ok for row in machine.rows(plan, tmp_path))
    target = replace(plan.target, populations=(user("http://127.0.0.1:1", A="${NOT_SET_1}"),))
    wrong = {
        r.what: r.fix for r in machine.rows(replace(plan, target=target), tmp_path) if not r.ok
    }
    assert wrong == {"secrets": "export NOT_SET_1=..."}
    load = replace(plan.load, rate_per_s=1e9)
    wrong = {r.what: r.fix for r in machine.rows(replace(plan, load=load), tmp_path) if not r.ok}
    assert wrong == {"disk": "make room, or choose another --reports"}


def test_a_target_that_the_gate_starts_is_not_looked_at(plan, tmp_path):
    lab = replace(plan.target, provision={"lab": {}}, components=(), populations=())
    rows = list(look_before(replace(plan, target=lab), Suite(tmp_path, tmp_path)))
    assert rows[-1].what == "target shop"
    assert all(row.ok for row in rows)


def test_what_is_wrong_ends_with_2_and_no_load_is_tried(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "shop")
    result = CliRunner().invoke(command, [], standalone_mode=False)
    assert result.return_value == 2, result.output
    assert "http://127.0.0.1:8080 refused: nobody listens there" in result.output
    assert "routes                              not tried" in result.output
    assert result.output.count("fix:") == result.output.count("  wrong  ")
