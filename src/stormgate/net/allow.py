"""Whom we may contact: the one reading of a target's `allow` list."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

_LOOPBACK = ("127.0.0.1", "::1")


class NotAllowedError(ValueError):
    """An address outside the target's `allow` list: nothing may be sent there."""


class AllowList:
    """The only networks (CIDR) and host names that may be contacted. None: all (a user's own
    `-H host`, without a target). Names are compared without regard to case or a closing dot.
    """

    def __init__(self, allow: Sequence[str] | None) -> None:
        self._all = allow is None
        self._told = ", ".join(allow or ())
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in allow or ():
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._names.add(_folded(entry))

    def permits(self, host: str, address: str) -> bool:
        """Whether `address` (to which `host` resolved) may be contacted."""
        return self.lists(host) or self._holds(address)

    def lists(self, host: str) -> bool:
        """Whether the host's very name is listed, wherever it leads."""
        return self._all or _folded(host) in self._names

    def __str__(self) -> str:
        return "everyone" if self._all else self._told or "nobody"

    def permits_host(self, host: str) -> bool:
        """Whether a host may be contacted as far as can be told without resolving it: its very name
        is listed, or it is an address in a listed network.
        """
        host = host.strip("[]")
        if self.lists(host):
            return True
        if _folded(host) == "localhost":
            return any(self._holds(address) for address in _LOOPBACK)
        return self._holds(host)

    def resolve(self, host: str, port: int) -> list[tuple[int, Any]]:
        """(family, socket address) of those addresses of a host that may be contacted, in the
        system's order. Raises NotAllowedError when there is none, OSError when it does not resolve.
        """
        return self.choose(host, socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    def choose(self, host: str, answers: Sequence[tuple[Any, ...]]) -> list[tuple[int, Any]]:
        """Of what `getaddrinfo` answered for a host, what may be contacted. See `resolve`."""
        found = [(int(family), address) for family, *_, address in answers]
        allowed = [pair for pair in found if self.permits(host, str(pair[1][0]))]
        if not allowed:
            where = ", ".join(dict.fromkeys(str(address[0]) for _, address in found))
            raise NotAllowedError(
                f"{host} ({where}) is not in the target's allow list: nothing was sent "
                f"(allow: {self._told})"
            )
        return allowed

    def _holds(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        # ::ffff:a.b.c.d is sent to a.b.c.d, so a rule for IPv6 says nothing of it.
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in network for network in self._networks if network.version == ip.version)


def _folded(name: str) -> str:
    return name.lower().rstrip(".")
