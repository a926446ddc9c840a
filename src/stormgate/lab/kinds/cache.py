"""Caches: one Valkey in every region, in memory alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stormgate.lab.design.layout import Process
from stormgate.lab.design.wiring import Wiring
from stormgate.lab.kinds import Child, Host, ProcessKind
from stormgate.model import Store

_MEMORY = ("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
_NOTHING_ON_DISK = ("--dir", "/", "--save", "", "--appendonly", "no")


class CacheKind(ProcessKind):
    """A real server, dialled by its region's service."""

    name = "cache"
    rank = 1
    protocol = "redis"

    def stores(self, wiring: Wiring, part: Process) -> Iterable[Store]:
        address = wiring.address(part.name)
        return [Store(name=part.name, reader=self.protocol, region=part.region, address=address)]

    def spawn(self, host: Host, part: Process, log_path: Path) -> Child:
        from stormgate.lab.native import postgres
        from stormgate.system import processes

        endpoint = host.wiring.endpoint(part.name)
        listen = ("--bind", endpoint["host"], "--port", str(endpoint["port"]))
        return processes.spawn(
            [host.binaries.valkey, *listen, *_NOTHING_ON_DISK, *_MEMORY, "--loglevel", "warning"],
            env=postgres.environment(),
            cwd=Path("/"),
            log_path=log_path,
            user=host.binaries.user,
            new_session=True,
        )


KIND = CacheKind()
