"""Connections from one process to one database node, over its link. Bounded in time; never a second
try.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

import psycopg

from stormgate.lab.design.health import Health, Probe
from stormgate.lab.native.postgres import SUPERUSER
from stormgate.lab.services.serving import failure_kind

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
# A query that nobody waits for any more may still hold a connection; past this many the node is not
# asked again.
_MAX_ABANDONED = 40
_ABANDONED_S = 3.0


async def connect(host: str, port: int, name: str, timeout_s: int = 2) -> Connection:
    """A connection in autocommit: every statement is its own transaction, one round trip. Raises
    psycopg.Error.
    """
    info = (
        f"host={host} port={port} user={SUPERUSER} dbname=postgres sslmode=disable "
        "gssencmode=disable"
    )
    return await psycopg.AsyncConnection.connect(
        f"{info} application_name={name} connect_timeout={timeout_s}",
        autocommit=True,
        prepare_threshold=2,
    )


class Node:
    """One database node as one process sees it."""

    def __init__(
        self, name: str, region: str, address: tuple[str, int], health: Health, warm: int
    ) -> None:
        self.name = name
        self.region = region
        self.address = address
        self.health = health
        self.warm = warm
        self._idle: list[Connection] = []
        self._abandoned: dict[asyncio.Task[tuple[Any, ...] | None], float] = {}

    @property
    def connections(self) -> int:
        """Those that are open and not asked right now."""
        return len(self._idle)

    async def query(
        self, sql: str, parameters: Mapping[str, Any], timeout_s: float
    ) -> tuple[Any, ...] | None:
        """The first row or None. Raises TimeoutError (it may happen still), ConnectionError, or
        psycopg.Error.
        """
        if len(self._abandoned) >= _MAX_ABANDONED:
            raise TimeoutError(f"{self.name} has left {_MAX_ABANDONED} queries unanswered")
        task = asyncio.create_task(self._run(sql, parameters))
        began_s = time.monotonic()
        # psycopg answers a cancellation by asking the server to cancel, which may take seconds when
        # the server is the problem.
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
        if not done:
            self._abandoned[task] = began_s
            task.add_done_callback(self._forget)
            self.record(Probe.SILENT, began_s)
            raise TimeoutError(f"{self.name} did not answer in {timeout_s} s")
        try:
            return task.result()
        except psycopg.OperationalError as error:
            self.record(failure_kind(error), began_s)
            raise ConnectionError(f"{self.name}: {error}") from error

    async def probe(self, timeout_s: float) -> None:
        """Ask whether it is there, keep some connections warm, and give up on what was abandoned
        long ago.
        """
        began_s = time.monotonic()
        for task, since_s in list(self._abandoned.items()):
            if began_s - since_s > _ABANDONED_S:
                task.cancel()
        with contextlib.suppress(OSError, psycopg.Error):
            await self.query("SELECT 1", {}, timeout_s)
            self.record(Probe.OK, began_s)
            while len(self._idle) < self.warm:
                async with asyncio.timeout(timeout_s):
                    self._idle.append(await connect(*self.address, "service"))

    def record(self, probe: Probe, began_s: float) -> None:
        """Take a result into the health; connections to a dead node are dropped."""
        if self.health.record(probe, began_s, time.monotonic()) and not self.health.up:
            while self._idle:
                # Without the server's answer to a goodbye: it will not come.
                self._idle.pop().pgconn.finish()

    async def _run(self, sql: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        connection = self._idle.pop() if self._idle else await connect(*self.address, "service")
        try:
            cursor = await connection.execute(sql, parameters or None)
            row = await cursor.fetchone() if cursor.description else None
        except psycopg.OperationalError:
            connection.pgconn.finish()
            raise
        except psycopg.Error:
            self._idle.append(connection)
            raise
        except BaseException:
            connection.pgconn.finish()
            raise
        self._idle.append(connection)
        return row

    def _forget(self, task: asyncio.Task[tuple[Any, ...] | None]) -> None:
        self._abandoned.pop(task, None)
        if not task.cancelled():
            task.exception()  # seen: nobody waits for it
