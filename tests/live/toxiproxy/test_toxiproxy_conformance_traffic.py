"""What toxics do to connections, for the real Toxiproxy and the embedded server alike."""

import hashlib
import random
import socket
import threading
import time
from contextlib import suppress

import pytest
from tests.live.toxiproxy.kit import Upstream, ends, ping, read_all, read_exactly, stalls

pytestmark = pytest.mark.live

FAST_MS = 40  # a round trip without a toxic, on a busy machine


# -- up and down


def test_dead_upstream_connects_then_ends(toxi):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = f"127.0.0.1:{listener.getsockname()[1]}"
    for upstream in (dead, "no-such-host.invalid:80"):
        with toxi.connect(toxi.proxy(upstream)) as sock:
            assert ends(sock)


def test_down_ends_connections_and_refuses_new_ones(toxi, echo):
    name = toxi.proxy(echo.address, type="latency", latency=1)
    sock = toxi.connect(name)
    ping(sock)
    address = toxi.client.set_enabled(name, False).address
    assert ends(sock)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    up = toxi.client.set_enabled(name, True)
    assert (up.address, [toxic.type for toxic in up.toxics]) == (address, ["latency"])
    with toxi.connect(name) as again:
        ping(again)
    sock.close()


def test_an_update_to_the_same_upstream_keeps_connections(toxi, echo):
    name = toxi.proxy(echo.address)
    with toxi.connect(name) as sock:
        ping(sock)
        toxi.raw("PATCH", f"/proxies/{name}", {"upstream": echo.address, "enabled": True})
        ping(sock)
        other = Upstream()
        toxi.raw("PATCH", f"/proxies/{name}", {"upstream": other.address})
        assert ends(sock)
        with toxi.connect(name) as again:
            ping(again)
        assert len(other.accepted) == 1
        other.close()


def test_deletion_ends_connections(toxi, echo):
    name = toxi.proxy(echo.address)
    with toxi.connect(name) as sock:
        ping(sock)
        toxi.client.delete(name)
        assert ends(sock)


# -- latency


def test_latency_on_open_connections_and_its_removal(toxi, echo):
    name = toxi.proxy(echo.address)
    with toxi.connect(name) as sock:
        ping(sock)
        up = toxi.toxic(name, "latency", latency=50, stream="upstream")
        assert ping(sock) >= 49
        down = toxi.toxic(name, "latency", latency=50)
        assert 99 <= min(ping(sock) for _ in range(3)) < 100 + FAST_MS
        toxi.drop(name, up)
        toxi.patch(name, down, attributes={"latency": 80})
        assert 79 <= min(ping(sock) for _ in range(3)) < 80 + FAST_MS
        toxi.drop(name, down)
        assert min(ping(sock) for _ in range(3)) < FAST_MS


def test_latency_delays_a_stream_but_does_not_thin_it(toxi, echo):
    name = toxi.proxy(echo.address, type="latency", latency=60)
    with toxi.connect(name) as sock:
        begin = time.monotonic()
        for index in range(20):
            sock.sendall(b"%02d" % index)
            time.sleep(0.002)
        assert read_exactly(sock, 40) == b"".join(b"%02d" % index for index in range(20))
        assert 0.06 <= time.monotonic() - begin < 0.06 + 20 * 0.06 / 2, (
            "each piece 60 ms, not one after another"
        )


def test_jitter_spreads_and_keeps_the_order(toxi, echo):
    name = toxi.proxy(echo.address, type="latency", latency=20, jitter=20)
    with toxi.connect(name) as sock:
        times = [ping(sock) for _ in range(30)]
        assert max(times) - min(times) > 10
        assert 5 < sum(times) / len(times) < 35
        data = random.Random(1).randbytes(200_000)
        sock.sendall(data)
        assert read_exactly(sock, len(data)) == data


# -- toxicity


def test_toxicity_is_drawn_per_connection(toxi, echo):
    name = toxi.proxy(echo.address, type="timeout", toxicity=0.5)
    socks = [toxi.connect(name) for _ in range(60)]
    for sock in socks:
        sock.sendall(b"x")
    time.sleep(0.6)
    spared = sum(not stalls(sock, 0) for sock in socks)
    # 60 fair coins are outside this range once in 100,000 times.
    assert 13 <= spared <= 47
    for sock in socks:
        sock.close()


def test_toxicity_is_drawn_again_on_update(toxi, echo):
    name = toxi.proxy(echo.address, type="latency", latency=60, toxicity=0)
    with toxi.connect(name) as sock:
        assert min(ping(sock) for _ in range(3)) < FAST_MS
        toxi.patch(name, "latency_downstream", toxicity=1)
        assert ping(sock) >= 59
        toxi.patch(name, "latency_downstream", toxicity=0)
        assert min(ping(sock) for _ in range(3)) < FAST_MS


def test_toxicity_when_another_toxic_is_chained(toxi, echo):
    """The real server draws the toxic before it again; the embedded one leaves connections as they
    are.
    """
    name = toxi.proxy(echo.address, type="latency", latency=600, toxicity=0.5)
    socks = [toxi.connect(name) for _ in range(40)]

    def slow() -> list[bool]:
        for sock in socks:
            sock.sendall(b"x")
        time.sleep(0.3)
        late = [stalls(sock, 0) for sock in socks]
        for sock in socks:
            assert sock.recv(1) == b"x"
        return late

    before = slow()
    toxi.toxic(name, "noop")
    assert (slow() == before) is not toxi.real
    for sock in socks:
        sock.close()


# -- amount and shape of data


def test_bandwidth(toxi, echo):
    name = toxi.proxy(echo.address, type="bandwidth", rate=100)
    data = random.Random(2).randbytes(50_000)
    with toxi.connect(name) as sock:
        begin = time.monotonic()
        sock.sendall(data)
        assert read_exactly(sock, len(data)) == data
        # 50 KB at 100 KB/s
        assert 0.45 <= time.monotonic() - begin < 1.5


def test_bandwidth_zero_stalls_until_updated(toxi, echo):
    name = toxi.proxy(echo.address, type="bandwidth", rate=0)
    with toxi.connect(name) as sock:
        sock.sendall(b"x" * 1000)
        assert stalls(sock)
        # Not by PATCH, which now and then kills the real server here.
        toxi.client.update_toxic(name, "bandwidth_downstream", {"rate": 1000})
        assert read_exactly(sock, 1000) == b"x" * 1000
        ping(sock)


def test_slicer_cuts_and_keeps_every_byte(toxi, echo):
    name = toxi.proxy(echo.address, type="slicer", average_size=100, size_variation=20, delay=4000)
    data = random.Random(3).randbytes(1000)
    with toxi.connect(name) as sock:
        sock.sendall(data)
        pieces = []
        while sum(map(len, pieces)) < len(data):
            pieces.append(sock.recv(4096))
        assert b"".join(pieces) == data
        assert len(pieces) >= 5


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_a_chain_of_all_keeps_every_byte(toxi, echo, stream):
    name = toxi.proxy(echo.address)
    toxi.toxic(name, "latency", stream=stream, latency=5, jitter=5)
    toxi.toxic(name, "slicer", stream=stream, average_size=5000, size_variation=1000, delay=10)
    toxi.toxic(name, "bandwidth", stream=stream, rate=20_000)
    toxi.toxic(name, "slow_close", stream=stream, delay=1)
    toxi.toxic(name, "limit_data", stream=stream, bytes=10**9)
    toxi.toxic(name, "noop", stream=stream)
    data = random.Random(4).randbytes(1_000_000)
    with toxi.connect(name) as sock:
        writer = threading.Thread(target=sock.sendall, args=(data,))
        writer.start()
        assert (
            hashlib.sha256(read_exactly(sock, len(data))).digest() == hashlib.sha256(data).digest()
        )
        writer.join()


def test_toxics_come_and_go_under_traffic_without_a_byte_lost(toxi, echo):
    name = toxi.proxy(echo.address)
    data = random.Random(5).randbytes(8_000_000)
    with toxi.connect(name) as sock:
        sock.settimeout(60)
        writer = threading.Thread(target=sock.sendall, args=(data,))
        received = []
        reader = threading.Thread(target=lambda: received.append(read_exactly(sock, len(data))))
        reader.start()
        toxi.toxic(name, "bandwidth", rate=20_000)
        writer.start()
        for index in range(12):
            stream = "upstream" if index % 2 else "downstream"
            toxi.toxic(name, "latency", stream=stream, latency=3, jitter=2)
            toxi.toxic(name, "slicer", stream=stream, average_size=900, size_variation=100)
            toxi.patch(name, f"latency_{stream}", attributes={"latency": 1})
            toxi.drop(name, f"latency_{stream}")
            toxi.drop(name, f"slicer_{stream}")
        writer.join()
        reader.join()
    assert hashlib.sha256(received[0]).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("held_by", ["receiver", "bandwidth", "stall"])
def test_a_sender_is_held_back(toxi, held_by):
    upstream = Upstream((lambda sock: time.sleep(5)) if held_by == "receiver" else read_all)
    name = toxi.proxy(upstream.address)
    if held_by != "receiver":
        toxi.toxic(name, "bandwidth", stream="upstream", rate=10 if held_by == "bandwidth" else 0)
    with toxi.connect(name) as sock:
        sock.settimeout(0.5)
        sent = 0
        with suppress(TimeoutError):
            while sent < 100_000_000:
                sent += sock.send(b"x" * 65536)
        # Kernel buffers take some megabytes on each hop; without backpressure it would be all of
        # it.
        assert sent < 50_000_000
    upstream.close()
