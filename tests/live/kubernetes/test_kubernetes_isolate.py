"""A NetworkPolicy on networks that enforce it in their several ways, with real connections: new
ones and one from before are told apart.
"""

from __future__ import annotations

import pytest
from tests.live.chaos_fixture import wait_until
from tests.live.kubernetes.network import PORT, Listener, Network

from stormgate.faults.backends.kubernetes.traffic.pooled import Pooled
from stormgate.faults.errors import Unproven
from stormgate.model import Observe

pytestmark = pytest.mark.live


@pytest.fixture
def net(here):
    here.world.network = Network(here.world)
    wait_until(lambda: here.world.network.services)
    return here


def web(here):
    address = here.world.one("services", "shop", "web")["spec"]["clusterIP"]
    return here.web(observe=Observe(protocol="http", address=f"{address}:{PORT}", path="/"))


@pytest.mark.parametrize(("enforces", "old"), [("new", "still answers"), ("all", "silent")])
def test_new_connections_are_cut_and_one_from_before_is_told_apart(net, enforces, old):
    net.world.network.enforces = enforces
    [row] = net.break_(web(net), "isolate")
    saw = row["proof"][0]["saw"]
    assert saw.startswith("6 new connections: ")
    assert "silent after" in saw.partition("; ")[0]
    assert saw.endswith(f"the connection from before: {old}")
    net.undo()
    assert not net.world.all("networkpolicies")
    net.clean()


def test_a_network_that_enforces_nothing_is_found_out_though_the_policy_is_there(net):
    with pytest.raises(Unproven, match=r"the policy is there and .* still answers.*not enforce it"):
        net.break_(web(net), "isolate", proof_s=0.5)
    assert not net.world.all("networkpolicies")


def test_nodes_that_enforce_it_do_not_stand_for_those_that_do_not(net):
    net.world.network.enforces = "half"
    with pytest.raises(Unproven, match=r"of 6 new connections pass: .*not enforce it"):
        net.break_(web(net), "isolate", proof_s=0.5)
    assert not net.world.all("networkpolicies")


def http_once(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")


def late(connection):
    """Answers the first request at once and each later one too late, in pieces."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    connection.recv(65536)


def test_a_server_that_keeps_no_connection_gives_none_to_ask():
    server = Listener("127.0.0.1", 0, http_once)
    try:
        with pytest.raises(ValueError, match="closes every connection"):
            Pooled(Observe(protocol="http", address=f"127.0.0.1:{server.port}", path="/"))
    finally:
        server.stop()


def test_half_an_answer_is_silence_and_what_ended_stays_so():
    server = Listener("127.0.0.1", 0, late)
    try:
        held = Pooled(Observe(protocol="http", address=f"127.0.0.1:{server.port}", path="/"))
        assert held.now() == "silent"
        server.cut()
        assert held.now() == "silent", "the late rest is no new answer"
        held.close()
    finally:
        server.stop()
