"""Bodies as their encodings say, or why not; header lines that go on in the next one."""

import gzip
import tracemalloc
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormgate.load import get, request
from stormgate.load.flow import Reply
from stormgate.load.http.content import ContentError, decoded
from stormgate.load.http.folded import has_fold, is_whole, unfolded
from stormgate.load.http.response import parse_message
from stormgate.model import Outcome

# Without a time of day in them: it would be in the names of the tests.
HELLO = gzip.compress(b"hello", mtime=0)
TWO = gzip.compress(b"hel", mtime=0) + gzip.compress(b"lo", mtime=0)


def raw_deflate(data):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("body", "encodings"),
    [
        (HELLO, "gzip"),
        (HELLO, "x-GZIP"),
        (TWO, "gzip"),
        (HELLO + gzip.compress(b"", mtime=0), "gzip"),
        (HELLO + bytes(8), "gzip"),
        (zlib.compress(b"hello"), "deflate"),
        (raw_deflate(b"hello"), "deflate"),
        (brotli.compress(b"hello"), "br"),
        (gzip.compress(brotli.compress(b"hello"), mtime=0), "br, gzip"),
        (b"hello", ""),
        (b"hello", "identity"),
    ],
)
def test_a_body_is_decoded_whole(body, encodings):
    assert decoded(body, encodings) == b"hello"


@pytest.mark.parametrize(
    ("body", "encodings", "why"),
    [
        (HELLO[:-4], "gzip", "cut short after 5"),
        (HELLO[:-9], "gzip", "cut short"),
        (HELLO[:12], "gzip", "cut short"),
        (TWO[:-1], "gzip", "cut short"),
        (b"hello", "gzip", "no gzip"),
        (HELLO[:-8] + bytes(8), "gzip", "broken"),
        (HELLO + b"tail", "gzip", "4 bytes after"),
        (zlib.compress(b"hello")[:-4], "deflate", "cut short"),
        (b"hello", "deflate", "broken|cut short"),
        (brotli.compress(b"hello" * 99)[:-2], "br", "cut short"),
        (b"hello", "br", "no br|cut short"),
        (b"hello", "zstd", "'zstd' was not asked for"),
        (HELLO, "br, gzip", "no br|cut short"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_told_why(body, encodings, why):
    with pytest.raises(ContentError, match=why):
        decoded(body, encodings)


@pytest.mark.parametrize(
    ("pack", "encoding"),
    [(gzip.compress, "gzip"), (zlib.compress, "deflate"), (brotli.compress, "br")],
)
def test_a_bomb_is_not_unpacked(pack, encoding):
    body = pack(bytes(64 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(ContentError, match="decodes to more than 1000000 bytes"):
            decoded(body, encoding, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    with pytest.raises(ContentError, match="more than 33554432"):
        decoded(body, encoding)


def test_many_members_count_together():
    with pytest.raises(ContentError, match="more than 99"):
        decoded(gzip.compress(bytes(40)) * 3, "gzip", 99)
    assert len(decoded(gzip.compress(bytes(33)) * 3, "gzip", 99)) == 99


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.data())
def test_no_cut_of_any_gzip_is_taken_for_whole(parts, data):
    members = [gzip.compress(part) for part in parts]
    body = b"".join(members)
    assert decoded(body, "gzip") == b"".join(parts)
    ends = {sum(map(len, members[:count])) for count in range(len(members) + 1)}
    cut = data.draw(st.integers(1, len(body)).filter(lambda at: at not in ends))
    with pytest.raises(ContentError):
        decoded(body[:cut], "gzip")


def answer(body, *lines):
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join([*head, b"", body])


def reply(asked, body, *lines):
    return Reply(asked, Outcome.OK, 200, answer(body, *lines), 0, 0)


def test_a_reply_says_what_is_wrong_with_its_body():
    gzipped = b"Content-Encoding: gzip"
    broken = reply(get("/x", decode=True), HELLO[:-4], gzipped)
    assert not broken.fits()
    assert (broken.body, "cut short" in broken.error) == (HELLO[:-4], True)
    assert not reply(get("/x", decode=True, max_decoded_bytes=4), HELLO, gzipped).fits()
    assert reply(get("/x", decode=True, max_decoded_bytes=5), HELLO, gzipped).fits()
    assert reply(get("/x"), HELLO[:-4], gzipped).fits()  # nobody asked for it
    assert reply(get("/x", decode=True), b"", gzipped).fits()
    assert reply(request("HEAD", "/x", decode=True), b"", gzipped).fits()
    refused = reply(get("/x", check=lambda r: r.body == b"no"), b"yes")
    assert (refused.fits(), refused.error) == (False, "its check said no")
    raised = reply(get("/x", check=lambda r: r.json()["a"]), b"{}")
    assert (raised.fits(), raised.error) == (False, "its check raised KeyError: 'a'")


@pytest.mark.parametrize("size", [-1, 1.5, "1", True, None])
def test_a_limit_is_a_number_of_bytes(size):
    with pytest.raises(TypeError, match="max_decoded_bytes"):
        get("/x", decode=True, max_decoded_bytes=size)


FOLDED = b"HTTP/1.1 200 OK\r\nX-Long: a\r\n b \r\n\tc\r\nX-B: d\r\nContent-Length: 8\r\n\r\n" + (
    b"hel\n lo\n"
)


def test_a_folded_line_is_one_line():
    headers, body = parse_message(FOLDED)
    assert (headers["x-long"], headers["X-B"], body) == ("a b c", "d", b"hel\n lo\n")
    assert parse_message(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + FOLDED)[1] == body


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n of lines",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"",
    ],
)
def test_what_is_not_folded_or_not_whole_is_left_alone(raw):
    assert unfolded(raw) == raw


def test_when_a_head_is_whole_and_folded():
    assert [is_whole(FOLDED[:size]) for size in (0, 20, 70, 71, len(FOLDED))] == [
        *[False] * 2,
        FOLDED.index(b"\r\n\r\n") + 4 <= 70,
        FOLDED.index(b"\r\n\r\n") + 4 <= 71,
        True,
    ]
    assert not is_whole(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert has_fold(FOLDED)
    assert has_fold(FOLDED[:30])
    assert not has_fold(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n of lines")
