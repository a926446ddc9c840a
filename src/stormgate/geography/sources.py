"""What a request says about where it comes from: a client address, a PROXY protocol line.

Addresses come only from ranges that belong to nobody (RFC 5737 for IPv4, RFC 3849 for IPv6), so a
log, a ban list or a location lookup that sees one can never hit a person. The same user of the same
run always has the same address.
"""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

# RFC 5737 section 3: TEST-NET-1, TEST-NET-2 and TEST-NET-3.
IPV4_NETWORKS = (
    IPv4Network("192.0.2.0/24"),
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
)
# RFC 3849 section 2.
IPV6_NETWORK = IPv6Network("2001:db8::/32")

HOSTS_PER_IPV4_NETWORK = 254  # without the network's own address and the broadcast address
IPV4_ADDRESSES = HOSTS_PER_IPV4_NETWORK * len(IPV4_NETWORKS)


def _number(seed: int, population: str, user: int) -> int:
    # Not hash(): that changes with every process, and a reproduced run must send the same
    # addresses.
    return int.from_bytes(blake2b(f"{seed}/{population}/{user}".encode(), digest_size=8).digest())


def ipv4_address(seed: int, population: str, user: int) -> str:
    """The user's IPv4 address. RFC 5737 has 762, so many users share one, as behind a carrier's
    NAT.
    """
    number = _number(seed, population, user) % IPV4_ADDRESSES
    network = IPV4_NETWORKS[number // HOSTS_PER_IPV4_NETWORK]
    return str(IPv4Address(int(network.network_address) + 1 + number % HOSTS_PER_IPV4_NETWORK))


def ipv6_address(seed: int, population: str, user: int) -> str:
    """The user's IPv6 address: the population picks the /48, the user the rest, so different users
    have different addresses.
    """
    site = int.from_bytes(blake2b(f"{seed}/{population}".encode(), digest_size=2).digest())
    return str(
        IPv6Address(
            int(IPV6_NETWORK.network_address) | site << 80 | _number(seed, population, user)
        )
    )


def proxy_line(source: str, own: tuple[Any, ...], peer: tuple[Any, ...]) -> bytes:
    """The line a load balancer sends ahead of a connection to say who is behind it (PROXY protocol
    1, haproxy.org, section 2.1): `source` as the client's address; ports and destination are those
    of the connection (its two socket addresses).

    The protocol wants one family for both addresses: an IPv4 one beside an IPv6 one is written as
    mapped (RFC 4291, 2.5.5.2).
    """
    client, server = (
        ip_address(source),
        ip_address(str(peer[0]).partition("%")[0]),
    )
    if client.version == server.version:
        return f"PROXY TCP{client.version} {client} {server} {own[1]} {peer[1]}\r\n".encode("ascii")
    both = [
        f"::ffff:{address}" if address.version == 4 else str(address)
        for address in (client, server)
    ]
    return f"PROXY TCP6 {both[0]} {both[1]} {own[1]} {peer[1]}\r\n".encode("ascii")
