"""TLS by either transport: what a server does to a session makes the same outcome by both."""

import contextlib
import socket
import ssl
import struct
import threading

import pytest
from tests.unit.load.engine.tls_bench import ENGINES, Client, S, Server, certificate, request_of

from stormgate.load.engine.core.terms import NoTermsError, peer, terms
from stormgate.load.http.tls import client_context
from stormgate.model import Outcome

HEAD = b"HTTP/1.1 200 OK\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nok"
LONG = HEAD + b"Content-Length: 100\r\n\r\nonly this"
OPEN = HEAD + b"\r\nas long as it lasts"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"), "DNS:localhost", "IP:127.0.0.1")


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def answering(*answers, then=None):
    """Serves one answer per request, in one record each where it is bytes."""

    def act(server, sock):
        with server.secured(sock) as secured:
            for answer in answers:
                if not request_of(secured):
                    return
                for part in [answer] if isinstance(answer, bytes) else answer:
                    secured.sendall(part)
            if then is not None:
                then(server, sock, secured)

    return act


def stay(server, _sock, _secured):
    server.may_end.wait(30)


def notify(server, _sock, secured):
    """Say by a close_notify that nothing more comes, and keep the connection."""
    secured.setblocking(False)
    with contextlib.suppress(ssl.SSLError, OSError):
        secured.unwrap()  # sends it, and does not wait for the other's
    server.may_end.wait(30)


def cut(_server, _sock, secured):
    """End the connection without a close_notify."""
    socket.socket.shutdown(secured, socket.SHUT_WR)


def reset(_server, _sock, secured):
    secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def garble(server, _sock, secured):
    """Bytes that are no record, beneath TLS."""
    with socket.socket(fileno=secured.detach()) as raw:
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"?" * 32)
        server.may_end.wait(30)


@pytest.mark.parametrize(
    ("answer", "then", "outcome"),
    [
        (OK, stay, Outcome.OK),
        ([OK[:20], OK[20:]], stay, Outcome.OK),
        (OPEN, notify, Outcome.OK),
        (OPEN, cut, Outcome.OK),
        (OPEN, reset, Outcome.RESET),
        (OPEN, garble, Outcome.RESET),
        (LONG, notify, Outcome.RESET),
        (LONG, cut, Outcome.RESET),
        (LONG, reset, Outcome.RESET),
        (LONG, garble, Outcome.RESET),
        (b"", notify, Outcome.RESET),
        (b"", cut, Outcome.RESET),
        (b"what is this\r\n\r\n", stay, Outcome.MALFORMED),
        (OK + OK, stay, Outcome.MALFORMED),
    ],
)
def test_how_a_session_ends_says_whether_the_answer_is_whole(engine, files, answer, then, outcome):
    with (
        Server(answering(answer, then=then), files) as server,
        Client(engine, server.port, files) as client,
    ):
        found, was_sent = client.ask()
        server.may_end.set()
        assert (found[0], was_sent) == (outcome, True)
        if outcome is Outcome.OK:
            assert found[2] == (answer if isinstance(answer, bytes) else b"".join(answer))
        assert not [one for one in client.said if one[0] == "engine"]


def test_what_is_never_answered_is_over_at_its_deadline(engine, files):
    with (
        Server(answering(b"", then=stay), files) as server,
        Client(engine, server.port, files) as client,
    ):
        found, was_sent = client.ask(timeout_ns=S // 3)
        assert (found[0], was_sent) == (Outcome.FIRST_BYTE_TIMEOUT, True)


def silent(server, _sock):
    server.may_end.wait(30)


def half_a_hello(server, sock):
    sock.recv(1000)
    sock.sendall(b"\x16\x03\x03\x00")
    server.may_end.wait(30)


def hang_up(_server, sock):
    sock.recv(1000)


def plain(server, sock):
    sock.recv(1000)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    server.may_end.wait(30)


def too_old(server, sock):
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    server.context.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    server.secured(sock).close()


@pytest.mark.parametrize(
    ("act", "outcome", "why"),
    [
        (silent, Outcome.CONNECT_TIMEOUT, None),
        (half_a_hello, Outcome.CONNECT_TIMEOUT, None),
        (hang_up, Outcome.RESET, None),
        (plain, Outcome.TLS, "wrong version number"),
        (too_old, Outcome.TLS, "handshake failure"),
    ],
)
def test_a_handshake_that_leads_nowhere_is_said_and_nothing_was_sent(
    engine, files, act, outcome, why
):
    context = client_context(str(files[0]))
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    with (
        Server(act, files) as server,
        Client(engine, server.port, files, context=context) as client,
    ):
        is_silence = outcome is Outcome.CONNECT_TIMEOUT
        found, was_sent = client.ask(connect_timeout_ns=S // 3 if is_silence else 30 * S)
        assert (found, was_sent) == ((outcome, 0, b""), False)
        said = [(kind, place) for kind, place, _ in client.said]
        assert said == ([] if why is None else [("tls", f"localhost:{server.port}")])
        assert all(why in one[2].lower() for one in client.said)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_both_say_in_the_same_words_whom_they_do_not_trust(files, tmp_path, host):
    """A signer that is unknown, and a name that is another's."""
    other = certificate(tmp_path, "DNS:other.test", "IP:127.0.0.9")
    heard = {}
    for engine in ENGINES:
        for trusted, served in ((files, other), (other, other)):
            with (
                Server(answering(OK), served) as server,
                Client(engine, server.port, trusted, host=host) as client,
            ):
                assert client.ask() == ((Outcome.TLS, 0, b""), False)
                heard.setdefault(engine, []).append([one[2] for one in client.said])
    assert all(len(said) == 1 for one in heard.values() for said in one)
    assert len({str(one) for one in heard.values()}) == 1, heard
    assert "self-signed certificate" in heard["sockets"][0][0]
    assert f"not valid for '{host}'" in heard["sockets"][1][0]


def test_one_session_carries_request_after_request_by_name_and_protocol(engine, files):
    agreed = []

    def act(server, sock):
        server.context.set_alpn_protocols(["h2", "http/1.1"])
        with server.secured(sock) as secured:
            agreed.append((secured.selected_alpn_protocol(), secured.version()))
            while request_of(secured):
                secured.sendall(OK)

    for host, name in (("localhost", "localhost"), ("127.0.0.1", None)):
        agreed.clear()
        with (
            Server(act, files) as server,
            Client(engine, server.port, files, host=host) as client,
        ):
            for _ in range(3):
                assert client.ask() == ((Outcome.OK, 200, OK), True)
            assert client.transport.counts.new_connections == server.accepted == 1
            assert client.transport.counts.sent == len(client.transport.counts.lags) == 3
            assert client.said == []
        assert server.names == [name]
        assert agreed == [("http/1.1", "TLSv1.3")]


def test_the_versions_before_are_spoken_too(engine, files):
    def act(server, sock):
        server.context.maximum_version = ssl.TLSVersion.TLSv1_2
        answering(OK, OK)(server, sock)

    with Server(act, files) as server, Client(engine, server.port, files) as client:
        assert [client.ask()[0][0] for _ in range(2)] == [Outcome.OK] * 2
        assert server.accepted == 1


def test_what_is_larger_than_all_buffers_goes_both_ways_whole(engine, files):
    """3 MB, while the other side is not reading yet."""
    body = bytes(range(256)) * 12_000
    written = threading.Event()

    def act(server, sock):
        with server.secured(sock) as secured:
            for _ in range(2):
                assert written.wait(30)
                written.clear()
                data = bytearray()
                while len(data) < len(body) or b"\r\n\r\n" not in data[:200]:
                    data += secured.recv(65_536)
                echo = data[data.index(b"\r\n\r\n") + 4 :]
                while len(echo) < len(body):
                    echo += secured.recv(65_536)
                secured.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(echo) + echo)

    with Server(act, files) as server, Client(engine, server.port, files) as client:
        for _ in range(2):
            attempt = client.submit(body=body)
            client.until(lambda attempt=attempt: attempt.sent_ns >= 0 or engine == "core")
            for _ in range(20):  # what goes into the kernel's buffers has gone
                client.transport.turn()
            written.set()
            client.until(lambda: client.transport.ended)
            _, outcome, _, raw, _, _ = client.transport.ended.popleft()
            assert outcome is Outcome.OK
            assert raw.partition(b"\r\n\r\n")[2] == body
        assert server.accepted == 1


def test_a_peer_that_says_goodbye_while_idle_is_no_error(engine, files):
    with (
        Server(answering(OK, then=notify), files) as server,
        Client(engine, server.port, files) as client,
    ):
        for count in (1, 2):
            assert client.ask()[0][0] is Outcome.OK
            client.until(lambda: not client.transport.open_connections)
            server.may_end.set()
            client.until(lambda count=count: server.accepted == count)


def test_what_waits_for_leave_to_open_its_pools_first_connection_gets_it(engine, files):
    """No connection comes free in a pool that has none."""
    with (
        Server(answering(OK), files) as server,
        Client(engine, server.port, files) as client,
    ):
        client.transport.open_allowance = 0
        client.submit()
        client.until(lambda: client.transport.waiting() == 1)
        client.transport.open_allowance = 5
        client.until(lambda: client.transport.ended)
        assert client.transport.ended[0][1] is Outcome.OK


@pytest.mark.skipif("core" not in ENGINES, reason="the core is not built")
@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        [HEAD + b"X: a\r\n b\r\nConte", b"nt-Length: 2\r\n\r\n", b"ok"],
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nTrailer: x\r\n\r\n",
        HEAD + b"Content-Length: 18000000\r\n\r\n" + b"x" * 18_000_000,
    ],
    ids=["folded", "in pieces", "trailer", "large"],
)
def test_what_the_core_does_not_decide_goes_on_in_python_in_the_same_session(files, answer):
    whole = answer if isinstance(answer, bytes) else b"".join(answer)
    with (
        Server(answering(answer, OK, answer), files) as server,
        Client("core", server.port, files) as client,
    ):
        for expected in (whole, OK, whole):
            assert client.ask() == ((Outcome.OK, 200, expected), True)
        assert client.transport.counts.new_connections == server.accepted == 1
        assert [kind for kind, *_ in client.said] == ["engine"]


@pytest.mark.skipif("core" not in ENGINES, reason="the core is not built")
@pytest.mark.parametrize(
    ("then", "outcome"),
    [(notify, Outcome.OK), (cut, Outcome.OK), (reset, Outcome.RESET), (garble, Outcome.RESET)],
)
def test_an_odd_answer_ends_with_its_session_as_any_other(files, then, outcome):
    odd = HEAD + b"X: a\r\n b\r\n\r\nas long as it lasts"
    with (
        Server(answering(odd, then=then), files) as server,
        Client("core", server.port, files) as client,
    ):
        found, _ = client.ask()
        server.may_end.set()
        assert found[0] is outcome


@pytest.mark.skipif("core" not in ENGINES, reason="the core is not built")
def test_the_end_in_the_middle_of_a_handshake(files):
    with Server(half_a_hello, files) as server, Client("core", server.port, files) as client:
        attempt = client.submit()
        client.until(lambda: server.accepted)
        client.transport.end()
        assert [one[:2] for one in client.transport.ended] == [(attempt, Outcome.NOT_SENT)]
        assert client.transport.open_connections == 0


def test_a_context_that_says_less_than_all_is_left_to_python(files):
    def no_core(*_):
        raise OSError("no such library")

    logged = client_context(str(files[0]))
    added = client_context(str(files[0]))
    added.load_cert_chain(*files)
    trusting = client_context(str(files[0]))
    trusting.check_hostname = False
    for context in (ssl.create_default_context(), added, trusting):
        with pytest.raises(NoTermsError):
            terms(no_core, context)
    with pytest.raises(NoTermsError, match="no such library"):
        terms(no_core, logged)
    assert peer("::1") == ("::1", True)
    assert peer("bücher.test") == ("xn--bcher-kva.test", False)


@pytest.mark.skipif("core" not in ENGINES, reason="the core is not built")
def test_such_a_context_is_spoken_by_python_and_said(files):
    context = ssl.create_default_context(cafile=str(files[0]))
    with (
        Server(answering(OK, OK), files) as server,
        Client("core", server.port, files, context=context) as client,
    ):
        assert client.ask() == ((Outcome.OK, 200, OK), True)
        assert ["not the engine's own" in why for *_, why in client.said] == [True]
