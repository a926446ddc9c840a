"""How connections end under toxics, for the real Toxiproxy and the embedded server alike."""

import socket
import time

import pytest
from tests.live.toxiproxy.kit import (
    Upstream,
    ends,
    ping,
    read_all,
    read_exactly,
    stalls,
    wait_until,
)

pytestmark = pytest.mark.live


def test_an_end_closes_both_directions(toxi):
    """Toxiproxy closes the whole other socket on a half-close; the answer to a half-closed request
    is lost.
    """
    seen = []

    def handle(sock):
        seen.append(read_all(sock))
        time.sleep(0.1)
        sock.sendall(b"too late")

    upstream = Upstream(handle)
    with toxi.connect(toxi.proxy(upstream.address)) as sock:
        sock.sendall(b"request")
        sock.shutdown(socket.SHUT_WR)
        assert ends(sock)
    assert wait_until(lambda: seen == [b"request"])
    upstream.close()


def test_timeout_zero_stalls_and_its_removal_closes(toxi, echo):
    name = toxi.proxy(echo.address, type="timeout")
    with toxi.connect(name) as sock:
        sock.sendall(b"x")
        assert stalls(sock)
        toxi.drop(name, "timeout_downstream")
        assert ends(sock)
    with toxi.connect(name) as sock:
        ping(sock)


def test_removing_a_timeout_closes_even_at_toxicity_zero(toxi, echo):
    name = toxi.proxy(echo.address, type="timeout", toxicity=0)
    with toxi.connect(name) as sock:
        ping(sock)
        toxi.drop(name, "timeout_downstream")
        assert ends(sock)


def test_timeout_closes_after_its_time(toxi, echo):
    name = toxi.proxy(echo.address, type="timeout", timeout=100)
    begin = time.monotonic()
    with toxi.connect(name) as sock:
        assert ends(sock)
        assert time.monotonic() - begin >= 0.095
    begin = time.monotonic()
    with toxi.connect(name) as sock:
        for _ in range(4):  # each piece of data starts the time anew
            time.sleep(0.05)
            sock.sendall(b"x")
        assert ends(sock)
        assert time.monotonic() - begin >= 0.295


def test_a_torn_connection_that_an_update_spares(toxi, echo):
    """The real server goes on with a hole in the stream; the embedded one closes."""
    name = toxi.proxy(echo.address, type="timeout")
    with toxi.connect(name) as sock:
        sock.sendall(b"lost")
        assert stalls(sock, 0.2)
        toxi.patch(name, "timeout_downstream", toxicity=0)
        if toxi.real:
            ping(sock)
        else:
            assert ends(sock)


def test_reset_peer_resets_new_connections(toxi, echo):
    name = toxi.proxy(echo.address, type="reset_peer", timeout=50)
    with toxi.connect(name) as sock:
        begin = time.monotonic()
        sock.sendall(b"x")
        assert not ends(sock)
        assert time.monotonic() - begin >= 0.045


def test_reset_peer_only_ends_open_ones(toxi, echo):
    name = toxi.proxy(echo.address)
    with toxi.connect(name) as sock:
        ping(sock)
        toxi.toxic(name, "reset_peer")
        sock.sendall(b"x")
        assert ends(sock)


def test_removing_a_reset_under_way_ends_the_connection(toxi, echo):
    """The real server's call waits until the reset; the embedded one ends the connection at
    once.
    """
    name = toxi.proxy(echo.address)
    with toxi.connect(name) as sock:
        ping(sock)
        toxi.toxic(name, "reset_peer", timeout=1000 if toxi.real else 60_000)
        sock.sendall(b"x")
        assert stalls(sock, 0.1)
        toxi.drop(name, "reset_peer_downstream")
        assert ends(sock)


def test_limit_data_passes_exactly_so_much(toxi, sender):
    for limit in (1, 999, 20_000):
        name = toxi.proxy(sender.address, type="limit_data", bytes=limit)
        with toxi.connect(name) as sock:
            sock.sendall(b"go")
            assert len(read_all(sock)) == limit


def test_limit_data_counts_over_updates(toxi, echo):
    name = toxi.proxy(echo.address, type="limit_data", bytes=1000)
    with toxi.connect(name) as sock:
        ping(sock, b"x" * 60)
        toxi.patch(name, "limit_data_downstream", attributes={"bytes": 100})
        sock.sendall(b"x" * 60)
        assert read_all(sock) == b"x" * 40


def test_slow_close_holds_back_the_end_alone(toxi, sender):
    name = toxi.proxy(sender.address, type="slow_close", delay=200)
    with toxi.connect(name) as sock:
        sock.sendall(b"x")
        read_exactly(sock, 20_000)
        begin = time.monotonic()
        assert ends(sock)
        assert time.monotonic() - begin >= 0.15


def test_removing_slow_close_lets_the_end_through(toxi, sender):
    name = toxi.proxy(sender.address, type="slow_close", delay=60_000)
    with toxi.connect(name) as sock:
        sock.sendall(b"x")
        read_exactly(sock, 20_000)
        assert stalls(sock, 0.1)
        toxi.drop(name, "slow_close_downstream")
        assert ends(sock)


def test_what_is_under_way_arrives_after_the_other_side_has_ended(toxi, echo):
    name = toxi.proxy(echo.address, type="latency", latency=700)
    with toxi.connect(name) as sock:
        sock.sendall(b"answer")
        time.sleep(0.3)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"answer"


def test_updating_slow_close_while_it_holds_the_end(toxi, sender):
    name = toxi.proxy(sender.address, type="slow_close", delay=60_000)
    with toxi.connect(name) as sock:
        sock.sendall(b"x")
        read_exactly(sock, 20_000)
        assert stalls(sock, 0.1)
        toxi.patch(name, "slow_close_downstream", attributes={"delay": 50})
        assert ends(sock)


def test_a_limit_removed_after_it_was_reached_opens_nothing(toxi, echo):
    name = toxi.proxy(echo.address, type="limit_data", bytes=4)
    toxi.toxic(name, "latency", latency=800)
    with toxi.connect(name) as sock:
        sock.sendall(b"12345678")
        time.sleep(0.3)
        toxi.drop(name, "limit_data_downstream")
        sock.sendall(b"more")
        assert read_all(sock) == b"1234"
