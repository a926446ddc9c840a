"""A browser's own cache in a flow."""

from __future__ import annotations

from typing import Any

import pytest

from stormgate.load import BrowserCache, Reply, Request
from stormgate.load.browser import Page
from stormgate.model import Outcome


class Web:
    """Drives a browser's requests by hand, against answers told beforehand, at a time told."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.browser = BrowserCache(lambda: self.now_s)

    def get(self, answer: tuple[int, str] | None, **options: Any) -> tuple[Page, Request | None]:
        """One page; None: nothing may be asked."""
        flow = self.browser.get("/logo", **options)
        try:
            request = next(flow)
        except StopIteration as end:
            assert answer is None
            return end.value, None
        assert answer is not None, "the browser had it"
        status, headers = answer
        body = "\r\n" if status == 304 else "content-length: 2\r\n\r\nhi"
        raw = f"HTTP/1.1 {status} X\r\n{headers}{body}".encode()
        outcome = Outcome.OK if status < 400 else Outcome.BAD_STATUS
        with pytest.raises(StopIteration) as end:
            flow.send(Reply(request, outcome, status, raw, 0, 1))
        return end.value.value, request


FRESH = (200, 'cache-control: public, max-age=60\r\netag: "a"\r\n')


def test_what_is_fresh_is_not_asked_for_and_what_ran_out_is_asked_by_its_tag() -> None:
    web = Web()
    first, _ = web.get(FRESH)
    assert first.source == "fetched"
    web.now_s = 59.9
    again, _ = web.get(None)
    assert (again.source, again.reply, again.shown) == ("browser", None, first.shown)
    web.now_s = 60.0
    page, request = web.get((304, "cache-control: max-age=60\r\n"), check=lambda r: r.body == b"hi")
    assert request is not None
    assert b'if-none-match: "a"' in request.extra.lower()
    assert (page.source, page.shown) == ("validated", first.shown)
    web.now_s = 119.9
    assert web.get(None)[0].source == "browser", "it was renewed"
    web.now_s = 120.0
    newer, _ = web.get(FRESH)
    assert newer.source == "fetched"
    assert newer.shown is not first.shown
    assert web.browser.seen == {"browser": 2, "validated": 1, "fetched": 2}


@pytest.mark.parametrize(
    ("headers", "kept_s"),
    [
        ("cache-control: max-age=60\r\nage: 20\r\n", 40),
        ("cache-control: max-age=60\r\nage: what\r\n", 60),
        ("cache-control: no-store, max-age=60\r\n", 0),
        ("cache-control: no-cache, max-age=60\r\n", 0),
        ("cache-control: s-maxage=60\r\n", 0),
        ("", 0),
    ],
)
def test_how_long_a_page_is_kept(headers: str, kept_s: float) -> None:
    web = Web()
    web.get((200, headers))
    if kept_s:
        web.now_s = kept_s - 0.1
        assert web.get(None)[0].source == "browser"
    web.now_s = kept_s + 0.1
    _, request = web.get((200, headers))
    assert request is not None
    assert b"if-none-match" not in request.extra.lower()


def test_an_error_is_not_kept_and_ends_what_was() -> None:
    web = Web()
    web.get(FRESH)
    web.now_s = 61.0
    page, _ = web.get((500, ""))
    assert not page.shown.ok
    _, request = web.get(FRESH)
    assert request is not None
    assert b"if-none-match" not in request.extra.lower()
