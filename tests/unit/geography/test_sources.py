"""Source addresses: from nobody's ranges, the same for the same user, spread over users."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from ipaddress import IPv6Address, ip_address

import pytest

from stormgate.geography.sources import (
    IPV4_ADDRESSES,
    IPV4_NETWORKS,
    IPV6_NETWORK,
    ipv4_address,
    ipv6_address,
    proxy_line,
)


def test_ipv4_addresses_are_hosts_of_the_documentation_networks_and_all_are_used() -> None:
    counted = Counter(ipv4_address(1, "london", user) for user in range(40_000))
    addresses = [ip_address(text) for text in counted]
    assert len(addresses) == IPV4_ADDRESSES == 762
    for network in IPV4_NETWORKS:
        inside = [address for address in addresses if address in network]
        assert len(inside) == 254
        assert network.network_address not in inside
        assert network.broadcast_address not in inside
    assert max(counted.values()) < 3 * 40_000 / IPV4_ADDRESSES


def test_ipv6_addresses_are_documentation_ones_and_users_differ() -> None:
    addresses = [IPv6Address(ipv6_address(1, "london", user)) for user in range(2_000)]
    assert all(address in IPV6_NETWORK for address in addresses)
    assert len(set(addresses)) == len(addresses)
    assert len({int(address) >> 80 for address in addresses}) == 1
    assert int(IPv6Address(ipv6_address(1, "paris", 0))) >> 80 != int(addresses[0]) >> 80


def test_another_process_sends_the_same_addresses() -> None:
    code = (
        "from stormgate.geography.sources import ipv4_address as a, ipv6_address as b; "
        "print(a(7, 'x', 3), b(7, 'x', 3))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert out == [ipv4_address(7, "x", 3), ipv6_address(7, "x", 3)]
    assert ipv6_address(8, "x", 3) != out[1]
    assert ipv6_address(7, "x", 4) != out[1]


@pytest.mark.parametrize(
    ("source", "own", "peer", "line"),
    [
        (
            "192.0.2.7",
            ("127.0.0.1", 4000),
            ("127.0.0.1", 80),
            b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\r\n",
        ),
        (
            "2001:db8::7",
            ("::1", 4000, 0, 0),
            ("::1", 80, 0, 0),
            b"PROXY TCP6 2001:db8::7 ::1 4000 80\r\n",
        ),
        (
            "192.0.2.7",
            ("fe80::2%eth0", 1, 0, 2),
            ("fe80::1%eth0", 80, 0, 2),
            b"PROXY TCP6 ::ffff:192.0.2.7 fe80::1 1 80\r\n",
        ),
        (
            "2001:db8::7",
            ("127.0.0.1", 1),
            ("127.0.0.1", 80),
            b"PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 1 80\r\n",
        ),
    ],
)
def test_a_proxy_line_says_who_is_behind_the_connection(
    source: str, own: tuple[object, ...], peer: tuple[object, ...], line: bytes
) -> None:
    assert proxy_line(source, own, peer) == line
