"""TCP connections as the kernel lists them (/proc/net/tcp, tcp6): who is connected to an address on
this machine, or from it. Linux only; elsewhere nothing is known.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ESTABLISHED, _SYN_SENT, _LISTEN = "01", "02", "0A"
_WILDCARDS = {"0.0.0.0", "::", "*", ""}  # noqa: S104 - compared with, never bound


@dataclass(frozen=True, slots=True)
class KernelConnection:
    """One end of a connection: (address, port) here and there; `open` while it carries data, else
    it is being closed, or was within the last minute.
    """

    local: tuple[str, int]
    remote: tuple[str, int]
    open: bool


def connections() -> frozenset[KernelConnection] | None:
    """All connections that this machine (its network namespace) knows; None where nobody can
    say.
    """
    found: set[KernelConnection] = set()
    read = False
    for table in _TABLES:
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        read = True
        for line in lines:
            fields = line.split()
            if len(fields) > 3 and fields[3] not in (_SYN_SENT, _LISTEN):
                ends = _end(fields[1]), _end(fields[2])
                found.add(KernelConnection(*ends, fields[3] == _ESTABLISHED))
    return frozenset(found) if read else None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address as it may appear in a list of connections. `here`: it belongs to this machine."""

    hosts: frozenset[str]
    port: int
    here: bool

    def is_end_of(self, one: KernelConnection) -> bool:
        """Whether the connection leads to this place: seen from there, or from who dialled it."""
        return any(
            end[1] == self.port and (end[0] in self.hosts or not self.hosts)
            for end in (one.local, one.remote)
        )


def place(address: str) -> Endpoint | None:
    """`host:port` looked up; None when it is no such thing or its host is unknown."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit():
        return None
    if host in _WILDCARDS:
        return Endpoint(frozenset(), int(port), here=True)
    try:
        found = {
            str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        }
    except (OSError, UnicodeError):
        return None
    return Endpoint(frozenset(found), int(port), here=any(_is_ours(one) for one in found))


def _is_ours(host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))  # only an address of this machine can be bound
    except OSError:
        return False
    return True


def _end(text: str) -> tuple[str, int]:
    """`0100007F:1F90` as ("127.0.0.1", 8080): words of four bytes, each in the machine's order."""
    raw, port = text.split(":")
    data = bytes.fromhex(raw)
    swapped = b"".join(data[i : i + 4][::-1] for i in range(0, len(data), 4))
    address = ipaddress.ip_address(swapped)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address), int(port, 16)
