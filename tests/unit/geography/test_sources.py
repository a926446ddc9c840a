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
    source_headers,
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


def test_headers() -> None:
    headers = source_headers(1, "accra", 2, country="GH", country_header="CF-IPCountry")
    assert headers == {"X-Forwarded-For": ipv4_address(1, "accra", 2), "CF-IPCountry": "GH"}
    assert source_headers(1, "accra", 2, ipv6=True) == {
        "X-Forwarded-For": ipv6_address(1, "accra", 2)
    }


def test_proxy_protocol_line() -> None:
    assert (
        proxy_line("192.0.2.1", 56324, "192.0.2.9", 443)
        == b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n"
    )
    assert (
        proxy_line("2001:db8::1", 1, "2001:db8::2", 2)
        == b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"
    )
    with pytest.raises(ValueError, match="must both be IPv4 or both IPv6"):
        proxy_line("192.0.2.1", 1, "2001:db8::1", 2)
    with pytest.raises(ValueError, match="port 65536"):
        proxy_line("192.0.2.1", 65536, "192.0.2.9", 443)
