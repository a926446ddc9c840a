"""A browser's own cache in a flow: `page = yield from session.browser.get("/logo.svg")`.

What the browser still has is not asked for, so it makes no sample; what has run out is asked for
with `If-None-Match`, and a 304 renews it (RFC 9111, without heuristics: an answer that says no
`max-age` is kept for its ETag alone).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal

from stormgate.load.flow import Reply, Request, get

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=([0-9]+)", re.IGNORECASE)
_NEVER = re.compile(r"(?:^|[,\s])no-store(?:$|[,\s])", re.IGNORECASE)
_ASK = re.compile(r"(?:^|[,\s])no-cache(?:$|[,\s=])", re.IGNORECASE)
_ENTRIES = 200
NOT_MODIFIED = 304


@dataclass(slots=True)
class KeptPage:
    """An answer, its validator, and until when it may be shown without asking, s."""

    reply: Reply
    etag: str
    until_s: float


@dataclass(frozen=True, slots=True)
class Page:
    """What the user sees: the answer itself (of a 304 the one that was kept), and where it came
    from. `reply` is None where nothing was asked.
    """

    shown: Reply
    source: Literal["browser", "validated", "fetched"]
    reply: Reply | None = None


class BrowserCache:
    """What one user's browser keeps. `seen` counts pages by where they came from."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seen = {"browser": 0, "validated": 0, "fetched": 0}
        self._clock = clock
        self._kept: dict[str, KeptPage] = {}

    def get(self, path: str, **options: Any) -> Generator[Request, Reply, Page]:
        """`get(path, **options)` through the cache. Statuses that `expect` names besides 304 are
        the caller's; a `check` looks at answers that have a body.
        """
        kept = self._kept.get(path)
        if kept is not None and self._clock() < kept.until_s:
            self.seen["browser"] += 1
            return Page(kept.reply, "browser")
        if kept is not None and kept.etag:
            options = self._asking(kept, options)
        asked_s = self._clock()
        reply = yield get(path, **options)
        if kept is not None and reply.ok and reply.status == NOT_MODIFIED:
            self._keep(path, kept.reply, kept.etag, reply, asked_s)
            self.seen["validated"] += 1
            return Page(kept.reply, "validated", reply)
        self._kept.pop(path, None)
        if reply.ok and reply.status == 200:
            self._keep(path, reply, reply.headers.get("etag", ""), reply, asked_s)
        self.seen["fetched"] += 1
        return Page(reply, "fetched", reply)

    def _asking(self, kept: KeptPage, options: dict[str, Any]) -> dict[str, Any]:
        headers = {**(options.get("headers") or {}), "If-None-Match": kept.etag}
        changed = {**options, "headers": headers}
        if (expect := options.get("expect")) is not None:
            changed["expect"] = (*expect, NOT_MODIFIED)
        check = options.get("check")
        if check is not None:
            changed["check"] = lambda reply: reply.status == NOT_MODIFIED or check(reply)
        return changed

    def _keep(self, path: str, shown: Reply, etag: str, said: Reply, asked_s: float) -> None:
        """Keep `shown` for as long as the newest answer, `said`, allows."""
        control = said.headers.get("cache-control", "")
        if _NEVER.search(control):
            self._kept.pop(path, None)
            return
        found = None if _ASK.search(control) else _MAX_AGE.search(control)
        lives_s = float(found[1]) - _age_s(said) if found else 0.0
        if not etag and lives_s <= 0:
            return
        if len(self._kept) >= _ENTRIES and path not in self._kept:
            self._kept.pop(next(iter(self._kept)))
        self._kept[path] = KeptPage(shown, etag, asked_s + lives_s)


def _age_s(reply: Reply) -> float:
    """How old the answer was when it came, s; what cannot be read counts as new."""
    try:
        return max(0.0, float(reply.headers.get("age", "0")))
    except ValueError:
        return 0.0
