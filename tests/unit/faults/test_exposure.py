"""Whether traffic ran through something, from what the kernel lists: decided without a network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from stormgate.faults.looks.exposure import look
from stormgate.model import Component, Observe
from stormgate.system.connections import KernelConnection

WEB, USER = ("127.0.0.1", 8080), ("127.0.0.1", 50123)


def part(name: str, address: str | None = "127.0.0.1:8080", backend: str = "process") -> Component:
    seen_at = Observe(protocol="http", address=address) if address else None
    return Component(name=name, kind="service", backend=backend, observe=seen_at)


def kernel(*snapshots: set[KernelConnection]) -> Iterator[frozenset[KernelConnection]]:
    yield from map(frozenset, snapshots)
    while True:
        yield frozenset(snapshots[-1])


@pytest.mark.parametrize(
    ("snapshots", "used"),
    [
        ([{KernelConnection(WEB, USER, True)}], True),
        ([{KernelConnection(USER, WEB, True)}], True),
        ([set()], False),
        ([{KernelConnection(("127.0.0.1", 9), USER, True)}], False),
        # Over before we looked: whose it was is not known, and a look of ours leaves that trace.
        ([{KernelConnection(WEB, USER, False)}], False),
        # Came and went between two looks.
        ([set(), {KernelConnection(WEB, USER, False)}], True),
        ([set(), set(), {KernelConnection(WEB, USER, True)}], True),
    ],
)
def test_connections_are_traffic(snapshots: list[set[KernelConnection]], used: bool) -> None:
    said = kernel(*snapshots)
    found = look({"web": [part("web")]}, watch_s=0.2, snapshot=lambda: next(said))["web"]
    assert found.used is used
    assert "127.0.0.1:8080" in found.saw


def test_one_used_part_is_enough_and_each_thing_is_asked() -> None:
    said = kernel({KernelConnection(WEB, USER, True), KernelConnection(USER, WEB, True)})
    wanted = {
        "region": [part("idle", "127.0.0.1:9"), part("web")],
        "other": [part("idle", "127.0.0.1:9")],
    }
    found = look(wanted, watch_s=0.05, snapshot=lambda: next(said))
    assert (found["region"].used, found["other"].used) == (True, False)
    assert found["region"].saw == "web: a connection to 127.0.0.1:8080"


@pytest.mark.parametrize("address", [None, "192.0.2.7:80", "${NOT_SET}"])
def test_what_cannot_be_told_is_not_told(address: str | None) -> None:
    said = kernel(set())
    found = look({"web": [part("web", address)]}, watch_s=0.05, snapshot=lambda: next(said))["web"]
    assert found.used is None
    assert found.saw
    nobody = look({"web": [part("web")]}, watch_s=0.05, snapshot=lambda: None)["web"]
    assert nobody.used is None


def test_a_stop_is_not_waited_out() -> None:
    stop = threading.Event()
    stop.set()
    found = look({"web": [part("web")]}, stop=stop, watch_s=60, snapshot=frozenset)
    assert found["web"].used is False


def test_a_real_user_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        web = part("web", f"127.0.0.1:{server.getsockname()[1]}")
        assert look({"web": [web]}, watch_s=0.05)["web"].used is False
        with socket.create_connection(server.getsockname()):
            assert look({"web": [web]}, watch_s=60)["web"].used is True
