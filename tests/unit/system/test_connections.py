"""Connections as the kernel lists them, seen from both ends and from elsewhere."""

from __future__ import annotations

import socket

import pytest

from stormgate.system.connections import KernelConnection, connections, place

HERE = ("127.0.0.1", 8080)
USER = ("127.0.0.1", 50123)


@pytest.mark.parametrize(
    ("address", "one", "leads_there"),
    [
        ("127.0.0.1:8080", KernelConnection(HERE, USER, True), True),
        ("127.0.0.1:8080", KernelConnection(USER, HERE, True), True),
        ("127.0.0.1:8081", KernelConnection(HERE, USER, True), False),
        ("127.0.0.2:8080", KernelConnection(HERE, USER, True), False),
        ("0.0.0.0:8080", KernelConnection(("10.1.2.3", 8080), ("10.1.2.4", 6), True), True),
        ("[::1]:8080", KernelConnection(("::1", 8080), ("::1", 6), True), True),
        ("[::1]:8080", KernelConnection(HERE, USER, True), False),
    ],
)
def test_what_leads_to_a_place(address: str, one: KernelConnection, leads_there: bool) -> None:
    there = place(address)
    assert there is not None
    assert there.here
    assert there.is_end_of(one) is leads_there


def test_places_that_are_none_or_elsewhere() -> None:
    assert place("no port") is None
    assert place("host:http") is None
    elsewhere = place("192.0.2.7:80")  # a network for documentation: nobody's own
    assert elsewhere is not None
    assert not elsewhere.here


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_is_listed_while_open_and_after(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with server:
        port = server.getsockname()[1]
        there = place(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        assert there is not None

        def listed() -> list[KernelConnection]:
            found = connections()
            assert found is not None
            return [one for one in found if there.is_end_of(one)]

        assert listed() == []  # listening is no connection
        with socket.create_connection((host, port)) as user:
            accepted, _ = server.accept()
            assert [one.open for one in listed()] == [True, True]
            assert {one.remote[1] for one in listed()} == {port, user.getsockname()[1]}
            accepted.close()
        closing = listed()
        assert closing
        assert not any(one.open for one in closing)
