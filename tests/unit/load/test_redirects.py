"""Where redirects lead, and what goes along."""

import pytest

from stormgate.load import get, post, request
from stormgate.load.engine.pool import Pools
from stormgate.load.engine.redirect import nowhere_else, redirected
from stormgate.load.flow import Reply
from stormgate.load.http.head import CREDENTIALS, without
from stormgate.load.http.location import follow, method_after, printable
from stormgate.load.record.reasons import Reasons
from stormgate.model import Outcome, Population

BASE = "http://a.test:81/base/d/x?y=1"


def place(*urls, **more):
    links = {f"e{number}": url for number, url in enumerate(urls or ["http://a.test:81/base"])}
    population = Population(
        name="p", share=1, latitude=0, longitude=0, edges=tuple(links), links=links, **more
    )
    return Pools(population, 0, links)


@pytest.mark.parametrize(
    ("location", "netloc", "path"),
    [
        ("/t", "a.test:81", "/t"),
        ("t?a=1", "a.test:81", "/base/d/t?a=1"),
        ("../t", "a.test:81", "/base/t"),
        ("/a/./b/../c", "a.test:81", "/a/c"),
        ("/a/%2e%2E/c", "a.test:81", "/c"),
        ("/../../t", "a.test:81", "/t"),
        ("/a/..", "a.test:81", "/"),
        ("?x=1", "a.test:81", "/base/d/x?x=1"),
        ("/t#frag", "a.test:81", "/t"),
        ("#frag", "a.test:81", "/base/d/x?y=1"),
        ("//b.test/t", "b.test", "/t"),
        ("http://b.test", "b.test", "/"),
        ("HTTP://B.Test:80/T", "b.test", "/T"),
        ("https://b.test/t", "b.test", "/t"),
        ("http://user:pw@b.test/t", "b.test", "/t"),
        ("http://[::1]:82/t", "[::1]:82", "/t"),
        ("http://b.test//t//u", "b.test", "//t//u"),
        ("/tar get", "a.test:81", "/tar%20get"),
        (" /t \t", "a.test:81", "/t"),
        ("/t\ta\nb", "a.test:81", "/tab"),
        ("/zürich".encode().decode("latin-1"), "a.test:81", "/z%C3%BCrich"),
        ("/z\xfcrich", "a.test:81", "/z%FCrich"),
        ("/t?q=z\xfc r\"<>'|", "a.test:81", "/t?q=z%FC%20r%22%3C%3E'|"),
        ('/a"<>`{}^b', "a.test:81", "/a%22%3C%3E%60%7B%7D%5Eb"),
        ("/a%20b%2Fc", "a.test:81", "/a%20b%2Fc"),
        ("\\t", "a.test:81", "/t"),
        ("http://zürich.test/t".encode().decode("latin-1"), "xn--zrich-kva.test", "/t"),
    ],
)
def test_a_location_leads_where_browsers_go(location, netloc, path):
    origin, found = follow(BASE, location)
    assert (origin.netloc, found) == (netloc, path)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("", "without a Location"),
        ("  ", "without a Location"),
        ("mailto:a@b.test", "no http"),
        ("javascript:alert(1)", "no http"),
        ("http://", "no host"),
        ("http://b.test:99999/", "no host or port"),
        ("http://b.test:x/", "no host or port"),
        ("http://b\xfc.test/", "no host or port"),
        ("http://[::1/", "IPv6"),
    ],
)
def test_a_location_that_leads_nowhere_says_so(location, why):
    with pytest.raises(ValueError, match=why):
        follow(BASE, location)


@pytest.mark.parametrize(
    ("status", "method", "after"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "HEAD", "HEAD"),
        (302, "PUT", "PUT"),
        (301, "DELETE", "DELETE"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
def test_the_method_changes_as_in_browsers(status, method, after):
    assert method_after(status, method) == after


def answer(asked, status, *lines):
    raw = b"".join(
        line.encode("latin-1") + b"\r\n"
        for line in (f"HTTP/1.1 {status} Moved", "Content-Length: 0", *lines, "")
    )
    return Reply(asked, Outcome.OK, status, raw, 0, 0)


def lead(asked, status, *lines, at=None, elsewhere=nowhere_else):
    at = at or place()
    return redirected(asked, answer(asked, status, *lines), at.current, at, elsewhere)


def test_at_the_same_origin_everything_goes_along():
    asked = post(
        "/x",
        json={"a": 1},
        headers={"Authorization": "Bearer t", "X-Tenant": "7"},
        expect=(200,),
        redirects=3,
    )
    kept, pool = lead(asked, 307, "Location: /base/t")
    assert (kept.method, kept.path, kept.body, kept.extra) == (
        "POST",
        "/t",
        asked.body,
        asked.extra,
    )
    assert (kept.expect, kept.is_bare, pool.is_edge) == ((200,), False, True)
    changed, _ = lead(asked, 302, "Location: /base/t")
    assert (changed.method, changed.body) == ("GET", b"")
    assert changed.extra == b"Authorization: Bearer t\r\nX-Tenant: 7\r\n"


@pytest.mark.parametrize("url", ["http://b.test/t", "http://a.test:82/t", "https://a.test:81/t"])
def test_another_origin_gets_no_credentials(url):
    at = place(headers={"Host": "shop.test", "X-Forwarded-For": "192.0.2.1"})
    asked = get("/x", headers={"Authorization": "Bearer t", "X-Tenant": "7"}, redirects=3)
    moved, pool = lead(
        asked, 302, f"Location: {url}", at=at, elsewhere=lambda at, origin: at.elsewhere(origin)
    )
    assert moved.is_bare
    assert not moved.is_plain
    assert not pool.is_edge
    assert at.next_after(pool) is pool
    assert b"shop.test" not in pool.headers
    assert b"X-Forwarded-For: 192.0.2.1" in pool.headers
    back, _ = redirected(
        moved, answer(moved, 302, "Location: http://a.test:81/base/x"), pool, at, nowhere_else
    )
    assert back.is_bare  # once dropped, they are not sent again


def test_the_sites_own_name_is_the_same_origin():
    at = place("http://127.0.0.1:8080", headers={"Host": "shop.test"})
    moved, pool = lead(get("/x", redirects=1), 302, "Location: http://Shop.test/t", at=at)
    assert (moved.path, moved.is_bare, pool) == ("/t", False, at.current)


def test_a_path_beyond_the_base_stays_at_the_origin_and_keeps_its_headers():
    at = place(headers={"Host": "shop.test"})
    moved, pool = lead(
        get("/x", redirects=1),
        302,
        "Location: /login",
        at=at,
        elsewhere=lambda at, origin: at.elsewhere(origin),
    )
    assert moved.head_for(pool).startswith(b"GET /login HTTP/1.1\r\n")
    assert b"Host: shop.test" in moved.head_for(pool)
    assert (moved.is_bare, pool.is_edge) == (False, False)


def test_another_edge_of_the_population_is_found():
    at = place("http://a.test:81", "http://b.test:81")
    moved, pool = lead(get("/x", redirects=1), 302, "Location: http://b.test:81/t", at=at)
    assert (pool.edge, moved.is_bare) == ("e1", True)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), "without a Location"),
        (("Location: ",), "without a Location"),
        (("Location: /a", "Location: /b"), "several"),
        (("Location: http://192.0.2.1/",), "192.0.2.1 is not an edge"),
    ],
)
def test_what_is_not_followed_says_why(lines, why):
    with pytest.raises(ValueError, match=why):
        lead(get("/x", redirects=3), 302, *lines)


def test_credentials_leave_a_block_whatever_their_case():
    block = (
        b"GET /a:b HTTP/1.1\r\nHost: a\r\nauthorization: x\r\nCOOKIE: y\r\n"
        b"Proxy-Authorization: z\r\nX-Authorization: kept\r\n\r\n"
    )
    assert without(block, CREDENTIALS) == (
        b"GET /a:b HTTP/1.1\r\nHost: a\r\nX-Authorization: kept\r\n\r\n"
    )


@pytest.mark.parametrize("make", [get, post, lambda path: request("HEAD", path)])
def test_a_fragment_is_never_sent(make):
    asked = make("/a?b=1#frag#more")
    assert (asked.path, asked.name) == ("/a?b=1", "/a?b=1")
    assert b"#" not in asked.head_for(place().current)


def test_a_location_is_told_without_its_password():
    assert printable("http://user:pw@b.test/x") == "http://b.test/x"
    assert printable("http://b.test/@x") == "http://b.test/@x"


def test_a_reason_is_said_once_per_place():
    said = []
    reasons = Reasons(lambda *what: said.append(what))
    for place_name in ("a", "a", "b"):
        reasons.say("redirect", place_name, "why")
    for number in range(10_000):
        reasons.say("redirect", "a", f"number {number}")
    assert said[:2] == [("redirect", "a", "why"), ("redirect", "b", "why")]
    assert len(said) == 500
