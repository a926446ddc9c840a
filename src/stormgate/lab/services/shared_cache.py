"""An edge's cache of what everybody is answered alike: static content and aggregated answers.

The origin says how long (`Cache-Control: max-age`); only one request for a thing goes to it at a
time, and whoever asks meanwhile waits for the same answer.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stormgate.net.httpserver import HttpRequest, HttpResponse

PREFIXES = ("/static/", "/digest/")
_ENTRIES = 5_000
_MAX_AGE = re.compile(r"max-age=([0-9]+(?:\.[0-9]+)?)")
# Passed to whoever asks, beside what the edge says itself.
_KEPT = ("cache-control", "etag", "x-chenu-region", "x-chenu-shard", "x-chenu-tier")

Fetch = Callable[[], Awaitable[HttpResponse]]


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, when it was got, and for how long it holds, s."""

    status: int
    body: bytes
    headers: dict[str, str]
    since_s: float
    lifetime_s: float


class SharedCache:
    """What an edge keeps for all of its users."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], Kept] = {}
        self._coming: dict[tuple[str, ...], asyncio.Future[Kept]] = {}

    def key(self, target: str, user: str, shard: str) -> tuple[str, ...]:
        """What is one thing: the same for every user of a shard."""
        return (target, shard)

    def holds(self, kept: Kept) -> bool:
        """Whether it may still be answered."""
        return time.monotonic() - kept.since_s < kept.lifetime_s

    async def answer(self, key: tuple[str, ...], fetch: Fetch) -> HttpResponse:
        """From here, or from the origin."""
        kept = self._kept.get(key)
        if kept is not None and self.holds(kept):
            return _said(kept, "hit")
        coming = self.joined(key)
        if coming is not None:
            return _said(await asyncio.shield(coming), "shared")
        return _said(await self._fetched(key, fetch), "miss")

    def joined(self, key: tuple[str, ...]) -> asyncio.Future[Kept] | None:
        """The answer that is on its way already."""
        return self._coming.get(key)

    async def _fetched(self, key: tuple[str, ...], fetch: Fetch) -> Kept:
        coming: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self._coming[key] = coming
        try:
            response = await fetch()
        except BaseException:
            coming.cancel()
            raise
        finally:
            self._coming.pop(key, None)
        kept = _kept(response)
        if response.status == 200 and kept.lifetime_s > 0:
            if len(self._kept) >= _ENTRIES:
                self._kept.clear()
            self._kept[key] = kept
        if not coming.done():
            coming.set_result(kept)
        return kept


def unchanged(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """304 without the body, where whoever asks says that they have just this one."""
    known = request.headers.get("if-none-match", "")
    tag = response.headers.get("etag")
    if response.status != 200 or tag is None or tag not in map(str.strip, known.split(",")):
        return response
    return HttpResponse(304, b"", response.headers, content_type="")


def _kept(response: HttpResponse) -> Kept:
    found = _MAX_AGE.search(response.headers.get("cache-control", ""))
    headers = {name: response.headers[name] for name in _KEPT if name in response.headers}
    lifetime_s = float(found[1]) if found else 0.0
    return Kept(response.status, response.body, headers, time.monotonic(), lifetime_s)


def _said(kept: Kept, how: str) -> HttpResponse:
    headers = dict(kept.headers)
    if kept.status == 200:
        headers["x-chenu-cache"] = how
        headers["age"] = f"{time.monotonic() - kept.since_s:.3f}"
        if how != "miss":
            headers["x-chenu-tier"] = "edge"
    return HttpResponse(kept.status, kept.body, headers)
