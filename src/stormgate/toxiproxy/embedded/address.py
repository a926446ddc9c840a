"""Listen addresses as Go's net package reads and writes them, errors included."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from typing import Any


class ListenError(Exception):
    """The address cannot be understood or listened on; the text is Go's."""


def split(text: str) -> tuple[str, int]:
    """`host:port`, `[v6]:port`, `:port` or nothing. Raises ListenError."""
    if text == "":
        return "", 0
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ListenError(f"address {text}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ListenError(f"address {text}: too many colons in address")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ListenError(
            f"address {port}: invalid port"
            if port.isdigit()
            else f"lookup tcp/{port}: unknown port"
        )
    return host, int(port)


def join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolve(text: str) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """What to bind: every interface (both families) for no host, the IPv4 address of a name if it
    has one.
    """
    host, port = split(text)
    if not host:
        return (
            (socket.AF_INET6, ("::", port))
            if socket.has_dualstack_ipv6()
            else (socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - as the real server
        )
    with contextlib.suppress(ValueError):
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        return family, (host, port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError(f"lookup {host}: no such host") from error
    found.sort(key=lambda item: item[0] != socket.AF_INET)
    return found[0][0], found[0][4]


def canonical(text: str) -> str:
    """The address as it will read back once listened on (port 0 stays). Raises ListenError."""
    address = resolve(text)[1]
    return join(address[0], address[1])


def listen(text: str) -> tuple[socket.socket, str]:
    """A listening, non-blocking socket and its address with the real port. Raises ListenError."""
    try:
        family, address = resolve(text)
    except ListenError as error:
        raise ListenError(f"listen tcp: {error}") from error
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        sock.bind(address)
        sock.listen(4096)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno or 0).lower()
        raise ListenError(f"listen tcp {join(address[0], address[1])}: bind: {reason}") from error
    host, port = sock.getsockname()[:2]
    return sock, join(host, port)
