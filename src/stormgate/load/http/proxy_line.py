"""The line a load balancer sends ahead of a connection to say who is behind it (PROXY protocol 1,
haproxy.org, section 2.1).
"""

from __future__ import annotations

import ipaddress
from typing import Any


def proxy_line(source: str, own: tuple[Any, ...], peer: tuple[Any, ...]) -> bytes:
    """`source` as the client's address; ports and destination are those of the connection (its two
    socket addresses).

    The protocol wants one family for both addresses: an IPv4 one beside an IPv6 one is written as
    mapped (RFC 4291, 2.5.5.2).
    """
    client, server = (
        ipaddress.ip_address(source),
        ipaddress.ip_address(str(peer[0]).partition("%")[0]),
    )
    if client.version == server.version:
        return f"PROXY TCP{client.version} {client} {server} {own[1]} {peer[1]}\r\n".encode("ascii")
    both = [
        f"::ffff:{address}" if address.version == 4 else str(address)
        for address in (client, server)
    ]
    return f"PROXY TCP6 {both[0]} {both[1]} {own[1]} {peer[1]}\r\n".encode("ascii")
