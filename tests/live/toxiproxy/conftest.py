"""Every test here that asks for `toxi` runs against both servers."""

import pytest
from tests.live.toxiproxy.kit import Toxi, Upstream, running

NOWHERE = "127.0.0.1:1"


@pytest.fixture(scope="module", params=["real", "embedded"])
def shared(request, tmp_path_factory):
    with running(request.param, tmp_path_factory.mktemp("toxi") / "log") as toxi:
        yield toxi


@pytest.fixture
def toxi(shared: Toxi):
    """The module's server, empty."""
    for name in shared.client.proxies():
        shared.client.ensure_deleted(name)
    return shared


@pytest.fixture
def proxy(toxi: Toxi) -> str:
    """A proxy called `web`, with one latency toxic."""
    toxi.client.create("web", NOWHERE)
    toxi.client.add_toxic("web", "latency", {"latency": 7})
    return "web"


@pytest.fixture
def echo():
    """An upstream that sends back what it gets."""
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def sender():
    """An upstream that, once it gets a byte, sends 20,000 and closes."""

    def handle(sock):
        if sock.recv(1):
            sock.sendall(b"x" * 20_000)

    upstream = Upstream(handle)
    yield upstream
    upstream.close()
