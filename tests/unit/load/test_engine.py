"""What the engine counts, books and outlives, with its loop turned by hand."""

import socket

import pytest
from tests.unit.load.engine_bench import OK, Bench

from stormgate.load import Retry, get, think
from stormgate.load.engine.clock import clock
from stormgate.load.engine.flows import Flows
from stormgate.model import Outcome


def ask(path="/x", **options):
    def flow(_session):
        yield get(path, **options)

    return flow


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return closed.getsockname()[1]


def ended(bench, count):
    return lambda: bench.counters.completed >= count


# --- what users' code may do


def test_an_item_after_a_wrong_one_is_still_asked_and_the_wrong_one_is_counted():
    said = []

    def flow(_session):
        try:
            yield "/plain"
        except TypeError as error:
            said.append(str(error))
            yield get("/after")

    with Bench() as bench:
        bench.stream(flow)
        bench.until(lambda: any(r["route"] == "/after" for r in bench.rows()))
        assert "a flow yields requests" in said[0]
        assert bench.counters.flow_errors >= 1
        assert "/plain" in bench.flow_errors[0][1]


def test_a_flow_that_only_pauses_does_not_stop_the_others():
    def restless(_session):
        while True:
            yield think(0)

    with Bench() as bench:
        bench.stream(restless, rate=100)
        bench.stream(ask("/good"))
        bench.until(lambda: sum(r["route"] == "/good" for r in bench.rows()) >= 20)
        bench.finish(grace_s=5)
        assert bench.adds_up()


def test_an_interrupt_reaches_who_waits_for_it_and_the_load_goes_on():
    def interrupted(_session):
        yield get("/x")
        raise KeyboardInterrupt

    with Bench() as bench:
        bench.stream(interrupted)
        bench.until(lambda: bench.hub.errors)
        assert bench.hub.errors[0][0] is KeyboardInterrupt
        assert bench.counters.flow_errors == 0
        bench.until(ended(bench, bench.counters.completed + 3))


def test_a_flow_that_fights_its_closing_is_no_error():
    def clinging(_session):
        while True:
            try:
                yield get("/x")
            finally:
                yield get("/x")  # RuntimeError: generator ignored GeneratorExit

    with Bench() as bench:
        bench.stream(clinging)
        bench.until(ended(bench, 5))
        bench.finish(grace_s=5)
        assert (bench.counters.engine_errors, bench.counters.flow_errors) == (0, 0)
        assert bench.adds_up()


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (lambda _reply: nonsense, "NameError"),  # noqa: F821
        (lambda reply: (yield_ for yield_ in [reply]), "only began something"),
    ],
)
def test_a_check_that_is_broken_itself_says_nothing_of_the_answer(check, why):
    with Bench() as bench:
        bench.stream(ask(check=check))
        bench.until(ended(bench, 3))
        assert {row["outcome"] for row in bench.rows()} == {"ok"}
        assert bench.counters.flow_errors >= 3
        assert why in bench.flow_errors[0][1]


def test_a_check_that_cannot_read_the_body_finds_it_wrong():
    with Bench() as bench:
        bench.stream(ask(check=lambda reply: reply.json()["items"]))
        bench.until(ended(bench, 3))
        assert {row["outcome"] for row in bench.rows()} == {"wrong_body"}
        assert bench.counters.flow_errors == 0


# --- logins


@pytest.mark.parametrize("how", ["raises", "raises at once", "is no generator"])
def test_a_stream_whose_login_failed_sends_nothing(how):
    def login(_session):
        reply = yield get("/login")
        raise KeyError(reply.status)

    def plain(_session):
        if how == "raises at once":
            raise KeyError(how)

    with Bench() as bench:
        stream = bench.stream(ask(), login=login if how == "raises" else plain)
        other = bench.stream(ask("/other"))
        bench.until(lambda: bench.engine.locked_out)
        bench.until(lambda: sum(r["route"] == "/other" for r in bench.rows()) >= 5)
        assert stream.logged_in is False
        assert other.logged_in is None
        assert {row["route"] for row in bench.rows()} <= {"/login", "/other"}
        assert bench.counters.flow_errors == 1
        assert bench.flow_errors[0][0] == "test.login"
        bench.engine.remove_stream(stream)
        assert (len(bench.engine.locked_out), bench.engine.left_out) == (0, 1)


def test_a_login_over_a_failed_answer_locks_out_all_the_same():
    def login(_session):
        reply = yield get("/login")
        assert reply.ok

    with Bench(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") as bench:
        bench.stream(ask(), login=login)
        bench.until(lambda: bench.engine.locked_out)
        assert (bench.counters.flow_errors, bench.counters.flow_errors_over_failures) == (0, 1)


def test_a_login_may_be_tried_again():
    tries = []

    def login(_session):
        tries.append(1)
        yield get("/login")
        assert len(tries) > 2

    with Bench() as bench:
        stream = bench.stream(ask(), login=login, login_retry_s=0.1)
        bench.until(lambda: any(r["route"] == "/x" for r in bench.rows()))
        assert len(tries) == 3
        assert stream.logged_in
        assert not bench.engine.locked_out


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_rate_that_is_none_is_refused_before_anything_begins(rate):
    with Bench() as bench, pytest.raises(ValueError, match="rate_per_s"):
        bench.stream(ask(), rate=rate, login=ask())


# --- the books


@pytest.mark.parametrize("retry", [None, Retry(3, on={Outcome.REFUSED})])
def test_what_the_target_refuses_is_neither_sent_nor_ours(retry):
    with Bench(port=free_port()) as bench:
        bench.stream(ask(retry=retry))
        bench.until(ended(bench, 5))
        rows = bench.finish(grace_s=5)
        assert {row["outcome"] for row in rows} == {"refused"}
        totals = bench.engine.totals()
        assert (totals["sent"], totals["not_sent"]) == (0, 0)
        assert totals["unreached"] == totals["planned"] >= 5
        assert bench.adds_up()


def test_a_request_is_sent_once_however_often_it_is_tried():
    with Bench(b"nonsense\r\n\r\n") as bench:
        bench.stream(ask(retry=Retry(3, on={Outcome.MALFORMED})))
        bench.until(ended(bench, 4))
        rows = bench.finish(grace_s=5)
        assert max(row["attempt"] for row in rows) == 3
        assert bench.engine.totals()["sent"] == len({row["request"] for row in rows})
        assert bench.adds_up()


def test_what_waits_for_a_connection_in_vain_is_not_sent_and_counted_once():
    with Bench(None, max_connections=2) as bench:
        bench.stream(ask(timeout_s=0.05), rate=2000)
        bench.until(lambda: bench.counters.not_sent >= 10)
        totals = bench.engine.totals()
        undecided = totals["planned"] - sum(totals[k] for k in ("sent", "unreached", "not_sent"))
        assert (
            0 <= undecided - bench.engine.transport.waiting() <= 2
        )  # on a connection that is being made
        rows = bench.finish()
        assert {"first_byte_timeout", "not_sent"} == {row["outcome"] for row in rows}
        assert bench.adds_up()


def test_an_engine_that_died_books_its_backlog_as_not_sent():
    """Nothing was looked at since the connections were opened: the target had taken them all."""
    with Bench() as bench:
        bench.stream(ask(), rate=5000)
        while not bench.engine.in_flight:
            bench.engine.wake()  # opens connections; nobody writes on them
        bench.engine._beat_ns -= 10_000_000_000
        assert bench.engine.is_dead(clock())
        rows = bench.finish()
        assert {row["outcome"] for row in rows} == {"not_sent"}
        assert bench.adds_up()


def test_answers_that_lie_there_at_the_end_are_read():
    with Bench() as bench:
        bench.stream(ask(), rate=2000)
        bench.until(ended(bench, 5))
        bench.server.answer = None
        sent = bench.counters.sent
        bench.until(lambda: bench.counters.sent > sent and bench.engine.in_flight)
        bench.engine.stop_arrivals()
        bench.server.answer = OK
        for sock in bench.server._open:
            sock.sendall(OK)  # nobody turns the loop any more
        bench.engine.end_in_flight()
        outcomes = [row["outcome"] for row in bench.rows()]
        assert set(outcomes) <= {"ok", "not_sent"}  # one may have had no connection yet
        assert outcomes.count("ok") == bench.counters.sent > sent
        assert bench.adds_up()


def test_what_escapes_everything_is_the_engines_own_failure_and_it_lives(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("not the user's")

    with Bench() as bench:
        bench.stream(ask())
        bench.until(ended(bench, 3))
        with monkeypatch.context() as broke:
            broke.setattr(Flows, "resume", broken)
            bench.until(lambda: bench.counters.engine_errors >= 3)
        assert "ZeroDivisionError" in bench.engine_errors[0]
        assert len(bench.engine_errors) == 1  # said once
        bench.until(ended(bench, bench.counters.completed + 3))
        rows = bench.finish(grace_s=5)
        assert {row["outcome"] for row in rows} == {"ok"}
        assert bench.counters.flow_errors == 0


def test_nobody_to_tell_is_the_engines_failure_too():
    def full(*_):
        raise OSError("no space left on device")

    def broken(_session):
        yield get("/x")
        raise ValueError

    with Bench() as bench:
        bench.engine.sandbox._on_error = full
        bench.stream(broken)
        bench.until(lambda: bench.counters.engine_errors)
        bench.until(ended(bench, bench.counters.completed + 3))
