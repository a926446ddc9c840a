"""TLS: verified by default, with the server's name, on kept connections."""

import os
import subprocess

import pytest
from tests.live.load_engine import ENGINES, Bench, server
from tests.live.test_load_locust import locust

from stormgate.evidence.read import Run
from stormgate.load import get, post
from stormgate.load.http.tls import client_context

pytestmark = pytest.mark.live


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch):
    """Both ways to move bytes make the same of whatever a server does."""
    monkeypatch.setenv("STORMGATE_ENGINE", request.param)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, key) that names localhost and nothing else, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(argv, check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def port(certificate, tmp_path_factory):
    with server(tmp_path_factory.mktemp("server"), "tls", *certificate) as url:
        yield int(url.rpartition(":")[2])


def trusting(certificate):
    return client_context(str(certificate[0]))


@pytest.mark.usefixtures("engine")
def test_requests_share_a_verified_connection(port, certificate):
    def flow(_session):
        for path in ("/ok", "/huge", "/bytes", "/chunked"):
            yield get(path, timeout_s=10)
        yield post("/ok", data=b"x" * 3_000_000, timeout_s=20)
        return (yield get("/ok"))

    with Bench(f"https://localhost:{port}", context=trusting(certificate)) as bench:
        rows, reply = bench.play(flow, within=30)
        assert bench.engine.counters.new_connections == 1
    assert [(r["outcome"], r["status"]) for r in rows] == [("ok", 200)] * 6
    assert reply.json() == {"id": 1}


@pytest.mark.usefixtures("engine")
def test_ends_and_deadlines_are_the_same_under_tls(port, certificate):
    def flow(_session):
        yield get("/early")
        yield get("/never", timeout_s=0.4)
        yield get("/old")
        yield get("/close")
        yield get("/hasty")

    with Bench(f"https://localhost:{port}", context=trusting(certificate)) as bench:
        rows, _ = bench.play(flow, within=30)
    assert [r["outcome"] for r in rows] == ["reset", "first_byte_timeout", "ok", "ok", "ok"]


@pytest.mark.usefixtures("engine")
def test_an_unknown_signer_and_a_wrong_name_are_refused(port, certificate):
    def flow(_session):
        yield get("/ok")

    said = []
    with Bench(f"https://localhost:{port}", context=client_context()) as bench:
        bench.reasons.tell = lambda *what: said.append(what)
        rows, _ = bench.play(flow)
        bench.play(flow)
    with Bench(f"https://127.0.0.1:{port}", context=trusting(certificate)) as bench:
        bench.reasons.tell = lambda *what: said.append(what)
        rows += bench.play(flow)[0]
    assert [(kind, place) for kind, place, _ in said] == [
        ("tls", f"localhost:{port}"),
        ("tls", f"127.0.0.1:{port}"),
    ]
    assert ["certificate" in why or "IP address" in why for _, _, why in said] == [True, True]
    assert [(r["outcome"], r["sent_ns"]) for r in rows] == [("tls", None)] * 2


@pytest.mark.usefixtures("engine")
def test_a_plain_text_server_is_a_tls_error_and_a_silent_one_a_connect_timeout(
    tmp_path, certificate
):
    def flow(_session):
        yield get("/ok", timeout_s=1)

    with (
        server(tmp_path) as url,
        Bench(url.replace("http", "https"), context=trusting(certificate)) as bench,
    ):
        rows, _ = bench.play(flow)
    assert rows[0]["outcome"] in ("tls", "connect_timeout", "reset")


def test_under_locust_the_signers_come_from_the_environment(port, certificate, tmp_path):
    options = ["-H", f"https://localhost:{port}", "--headless", "-u", "2", "-r", "2", "-t", "3s"]
    with locust(tmp_path, *options, env={"SSL_CERT_FILE": str(certificate[0])}) as (process, log):
        assert process.wait(timeout=90) == 0, log.read_text()
    samples = Run(tmp_path / "run").samples()
    assert set(samples["outcome"]) == {"ok"}
    assert len(samples) > 20
    untrusted = tmp_path / "untrusted"
    untrusted.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    with locust(untrusted, *options, env=environment) as (process, log):
        process.wait(timeout=90)
    outcomes = set(Run(untrusted / "run").samples()["outcome"])
    assert "tls" in outcomes
    assert "ok" not in outcomes
