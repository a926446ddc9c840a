"""Cookies as browsers keep and send them, and credentials of a URL."""

import pytest

from stormgate.load import get
from stormgate.load.engine.pool import Pools
from stormgate.load.engine.stream import Session
from stormgate.load.http.cookies import SETS_COOKIE, Jar, date_s
from stormgate.load.http.head import dressed
from stormgate.model import Population
from stormgate.net.origin import parse_origin, without_user
from stormgate.system.limits import open_files, too_few_open_files

NOW = 1_700_000_000.0
DATE = "Wed, 09 Jun 2100 10:18:14 GMT"


def jar(*values, host="shop.test", path="/a/b", secure=False, now_s=NOW):
    made = Jar()
    made.keep(values, host=host, path=path, secure=secure, now_s=now_s)
    return made


def sent(made, host="shop.test", path="/a/b", secure=False, now_s=NOW):
    return made.header(host=host, path=path, secure=secure, now_s=now_s)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sid=1", "sid=1"),
        ("sid=1; Path=/; HttpOnly", "sid=1"),
        (" sid = 1 ; path=/", "sid=1"),
        ("sid=a=b", "sid=a=b"),
        ('sid="quoted"', 'sid="quoted"'),
        ("sid=", "sid="),
        ("alone", "alone"),
        ("", ""),
        ("=; Path=/", ""),
        ("sid=1\x00", ""),
        ("sid=" + "x" * 5000, ""),
        ("sid=1; SameSite=Strict; Priority=High; Partitioned", "sid=1"),
    ],
)
def test_a_cookie_comes_back_as_it_came(value, expected):
    assert sent(jar(value)) == expected


@pytest.mark.parametrize(
    ("value", "host", "other", "goes"),
    [
        ("a=1", "shop.test", "www.shop.test", False),
        ("a=1; Domain=shop.test", "shop.test", "www.shop.test", True),
        ("a=1; Domain=.Shop.Test", "www.shop.test", "shop.test", True),
        ("a=1; Domain=shop.test", "shop.test", "notshop.test", False),
        ("a=1; Domain=other.test", "shop.test", "other.test", False),
        ("a=1; Domain=www.shop.test", "shop.test", "www.shop.test", False),
        ("a=1; Domain=test", "shop.test", "other.test", False),
        ("a=1; Domain=", "shop.test", "shop.test", True),
        ("a=1; Domain=localhost", "localhost", "localhost", True),
        ("a=1; Domain=localhost", "localhost", "a.localhost", False),
        ("a=1; Domain=127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("a=1; Domain=0.0.1", "127.0.0.1", "127.0.0.1", False),
        ("a=1; Domain=b.test; Domain=shop.test", "shop.test", "www.shop.test", True),
    ],
)
def test_domains(value, host, other, goes):
    assert bool(sent(jar(value, host=host), host=other)) is goes


@pytest.mark.parametrize(
    ("value", "path", "goes"),
    [
        ("a=1", "/a/c", True),
        ("a=1", "/a", True),
        ("a=1", "/", False),
        ("a=1; Path=/", "/z", True),
        ("a=1; Path=/a/b", "/a/b/c", True),
        ("a=1; Path=/a/b", "/a/bc", False),
        ("a=1; Path=/a/", "/a", False),
        ("a=1; Path=z", "/a/z", True),
        ("a=1; Path=/other", "/other/x", True),
    ],
)
def test_paths(value, path, goes):
    assert bool(sent(jar(value), path=path)) is goes


@pytest.mark.parametrize(
    ("value", "later", "goes"),
    [
        ("a=1; Max-Age=10", 9, True),
        ("a=1; Max-Age=10", 10, False),
        ("a=1; Max-Age=0", 0, False),
        ("a=1; Max-Age=-5", 0, False),
        ("a=1; Max-Age=soon", 1e9, True),
        ("a=1; Max-Age=99999999999999999999", 1e9, True),
        ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", 0, False),
        (f"a=1; Expires={DATE}", 0, True),
        ("a=1; Expires=never", 1e9, True),
        ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=10", 5, True),
    ],
)
def test_expiry(value, later, goes):
    assert bool(sent(jar(value), now_s=NOW + later)) is goes


@pytest.mark.parametrize(
    ("value", "by", "to", "goes"),
    [
        ("a=1; Secure", True, True, True),
        ("a=1; Secure", True, False, False),
        ("a=1; Secure", False, True, False),
        ("a=1", True, False, True),
        ("__Secure-a=1; Secure", True, True, True),
        ("__Secure-a=1", True, True, False),
        ("__Host-a=1; Secure; Path=/", True, True, True),
        ("__Host-a=1; Secure; Path=/; Domain=shop.test", True, True, False),
        ("__Host-a=1; Secure", True, True, False),
    ],
)
def test_secure(value, by, to, goes):
    assert bool(sent(jar(value, secure=by), secure=to)) is goes


def test_a_cookie_is_replaced_deleted_and_not_overwritten_by_a_plain_answer():
    made = jar("a=1", "b=2", "a=3")
    assert (sent(made), made.get("a"), made.get("c"), len(made)) == ("a=3; b=2", "3", None, 2)
    made.keep(["a=; Max-Age=0"], host="shop.test", path="/a/b", secure=False, now_s=NOW)
    assert sent(made) == "b=2"
    safe = jar("a=1; Secure", secure=True)
    safe.keep(["a=2"], host="shop.test", path="/a/b", secure=False, now_s=NOW)
    assert sent(safe, secure=True) == "a=1"


def test_longer_paths_come_first_and_a_domain_has_room_for_so_many():
    assert sent(jar("a=1; Path=/", "b=2; Path=/a", "c=3; Path=/")) == "b=2; a=1; c=3"
    many = jar(*(f"c{number}=x" for number in range(300)))
    assert len(many) == 180
    assert many.get("c299") == "x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777),
        ("06 november 1994 8:49:37", 784111777),
        ("Fri, 31 Dec 99 23:59:59", 946684799),
        ("1 Jan 69 0:0:0", 3124224000),
        ("31 Feb 2000 00:00:00", None),
        ("1 Jan 2000 25:00:00", None),
        ("1 Jan 1500 00:00:00", None),
        ("1 Jan 2000", None),
        ("", None),
    ],
)
def test_dates_in_whatever_order(text, expected):
    assert date_s(text) == expected


@pytest.mark.parametrize("name", [b"Set-Cookie", b"set-cookie", b"SET-COOKIE", b"sEt-CoOkIe"])
def test_a_cookie_is_noticed_in_any_case(name):
    assert SETS_COOKIE.search(b"HTTP/1.1 200 OK\r\n" + name + b": a=1\r\n\r\n")
    assert not SETS_COOKIE.search(b"HTTP/1.1 200 OK\r\nX-" + name + b": a=1\r\n\r\n")


def place(url, **more):
    links = {"e": url}
    population = Population(
        name="p", share=1, latitude=0, longitude=0, edges=("e",), links=links, **more
    )
    return Pools(population, 0, links)


def asked(at, session, request):
    pool = at.current
    return session.dress(request.head_for(pool) + session.block, pool, request)


def test_a_session_sends_what_it_was_given_by_the_sites_own_name():
    at = place("http://127.0.0.1:81/base", headers={"Host": "Shop.Test:8080"})
    session = Session(at.model, 0, 1)
    assert not session.has_cookies
    session.keep_cookies(["sid=1", "x=2; Domain=127.0.0.1"], at.current, get("/login?next=1"))
    assert session.has_cookies
    assert [(cookie.name, cookie.domain, cookie.path) for cookie in session.cookies] == [
        ("sid", "shop.test", "/base")
    ]
    assert asked(at, session, get("/t")).endswith(b"\r\nCookie: sid=1\r\n\r\n")
    assert b"Cookie" not in asked(at, session, get("/t", cookies=False))
    own = asked(at, session, get("/t", headers={"cookie": "mine=1"}))
    assert own.count(b"ookie:") == 1
    assert b"cookie: mine=1\r\n" in own


def test_credentials_of_a_url_are_basic_unless_the_flow_has_its_own():
    at = place("http://us%40er:p%3Aw@127.0.0.1:81")
    session = Session(at.model, 0, 1)
    basic = b"Authorization: Basic dXNAZXI6cDp3\r\n\r\n"  # us@er:p:w
    assert asked(at, session, get("/t")).endswith(basic)
    assert b"Host: 127.0.0.1:81\r\n" in asked(at, session, get("/t"))
    session.set_header("Authorization", "Bearer t")
    assert asked(at, session, get("/t")).count(b"uthorization:") == 1
    session.set_header("Authorization", None)
    own = asked(at, session, get("/t", headers={"authorization": "Bearer t"}))
    assert own.count(b"uthorization:") == 1
    theirs = place("http://a:b@127.0.0.1:81", headers={"Authorization": "Bearer p"})
    assert asked(theirs, session, get("/t")).count(b"uthorization:") == 1


def test_a_bare_request_has_cookies_of_its_place_and_no_credentials():
    head = b"GET / HTTP/1.1\r\nCookie: old=1\r\nAuthorization: x\r\n\r\n"
    assert dressed(head, bare=True, basic=b"Authorization: y\r\n", cookies="new=1") == (
        b"GET / HTTP/1.1\r\nCookie: new=1\r\n\r\n"
    )
    assert dressed(head, bare=False, basic=b"Authorization: y\r\n", cookies="new=1") == head


@pytest.mark.parametrize(
    "url",
    ["ftp://us:secret@a", "http://us:secret@a:99999", "http://us:secret@a/?q", "http://us:secret@"],
)
def test_a_password_is_not_told(url):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - each has words of its own
        parse_origin(url)
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(parse_origin("http://us:secret@a/"))
    assert without_user(f"see {url}") == "see " + url.replace("us:secret@", "")


def test_too_few_open_files_are_named_with_how_to_raise_them():
    assert too_few_open_files(256, 256, "a gate") == ""
    assert "64 files at once (ulimit -n)" in too_few_open_files(64, 256, "a gate")
    assert "a gate needs 256" in too_few_open_files(64, 256, "a gate")
    assert open_files() > 0
