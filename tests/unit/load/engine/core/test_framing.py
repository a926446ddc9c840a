"""Where a response ends, by the compiled core and by httptools."""

import itertools

import pytest
from tests.unit.load.engine.core import framing_fuzz

from stormgate.load.engine.core import native, why_not

pytestmark = pytest.mark.skipif(native is None, reason=f"the core is not built: {why_not}")

HEAD = b"HTTP/1.1 200 OK\r\nServer: nginx\r\n"
LENGTH = HEAD + b"Content-Length: 2\r\n\r\nok"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def test_whatever_comes_the_two_agree_where_the_core_decides():
    """The same answers each time: a test that draws anew is the fuzzer's business, not CI's."""
    counts = framing_fuzz.run(3, seconds=3600, most=20_000)
    more, whole, malformed, odd = (count / sum(counts) for count in counts)
    # Else there would be nothing that it was held to.
    assert whole > 0.2
    assert more > 0.05
    assert malformed > 0.01
    assert odd < 0.7


def test_after_each_byte_of_an_ordinary_answer_any_other_is_judged_alike():
    """Each byte in turn in each place: what a draw meets once in a million answers."""
    for whole in (LENGTH, CHUNKED, b"HTTP/1.0 200\r\n\r\n"):
        for cut, other in itertools.product(range(len(whole)), range(256)):
            for tail in (b"", whole[cut + 1 :]):
                parts = [whole[:cut] + bytes([other]) + tail]
                assert framing_fuzz.difference(parts, False, False)[0] is None, parts


@pytest.mark.parametrize(
    ("raw", "status", "keep"),
    [
        (LENGTH, 200, 1),
        (CHUNKED, 200, 1),
        (EARLY + EARLY + LENGTH, 200, 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, 1),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, 1),
        (b"HTTP/1.1 503 Gone\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 503, 0),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, 0),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", 200, 1),
    ],
)
def test_an_ordinary_answer_is_whole_at_its_last_byte_in_any_two_pieces(raw, status, keep):
    """What nearly all servers send is never odd."""
    for cut in range(1, len(raw)):
        found = native.frame([raw[:cut], raw[cut:]], False, False)
        assert found == (native.FRAMED_WHOLE, status, keep, 2), cut
    assert native.frame([bytes([byte]) for byte in raw], False, False)[0] == native.FRAMED_WHOLE
    assert native.frame([raw[:-1]], False, True)[0] == native.FRAMED_MORE


@pytest.mark.parametrize(
    ("pieces", "is_head", "ended", "framed"),
    [
        ([b"what is this\r\n\r\n"], False, False, "MALFORMED"),
        ([LENGTH + LENGTH], False, False, "MALFORMED"),
        ([LENGTH + b"\0"], False, False, "MALFORMED"),
        ([LENGTH + b"HTTP/1.1 2"], False, False, "ODD"),  # it may yet be anything
        ([HEAD + b"\r\nas long as it lasts"], False, True, "WHOLE"),
        ([HEAD + b"\r\nas long as it lasts"], False, False, "MORE"),
        ([HEAD + b"Content-Length: 10\r\n\r\n"], True, False, "WHOLE"),
        ([HEAD + b"X: a\r\n b\r\n\r\n"], False, False, "ODD"),  # folded
        ([HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"], False, False, "ODD"),
        ([HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"], False, False, "ODD"),
        ([HEAD.replace(b"\r\n", b"\n") + b"\n"], False, False, "ODD"),
        ([HEAD + b"Upgrade: h2c\r\n"], False, False, "ODD"),
        ([b"RT"], False, False, "ODD"),  # RTSP/, perhaps
        (
            [b"HTTP/1.0 304 OK\r\nConnection: Keep-Alive\r\nConnection: close\r\n\r\n"],
            *(False, True, "ODD"),
        ),
        ([CHUNKED[:-2] + b"Trailer: x\r\n\r\n"], False, False, "ODD"),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n"], False, False, "ODD"),
        ([HEAD + b"Content-Length: 1234567890123456\r\n\r\n"], False, False, "ODD"),
        ([HEAD, *itertools.repeat(b"A: " + b"b" * 1000 + b"\r\n", 70)], False, False, "ODD"),
    ],
)
def test_what_it_does_not_decide_it_gives_away(pieces, is_head, ended, framed):
    assert native.frame(pieces, is_head, ended)[0] == getattr(native, f"FRAMED_{framed}")


def test_the_parser_takes_only_bytes():
    with pytest.raises(TypeError):
        native.frame(["text"], False, False)
