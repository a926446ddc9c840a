"""The socket transport's law under its own failures, and what is over its deadline."""

import itertools
from types import SimpleNamespace

import pytest
from tests.unit.load.engine_bench import Bench

from stormgate.load import get
from stormgate.load.engine.transport import sockets
from stormgate.load.engine.transport.queues import overdue, owed
from stormgate.load.http.connection import CONNECTING, HANDSHAKE, READY
from stormgate.model import Outcome

S = 1_000_000_000


@pytest.mark.parametrize("place", ["received", "done", "_begin", "_transmit"])
def test_what_the_transport_itself_fails_over_comes_back_once(place, monkeypatch):
    """No row, nothing in flight for ever, and the next ones are well."""
    calls = itertools.count(1)
    # Once connections stay open nothing is begun any more: there the first ones fail.
    fails = range(1, 4) if place == "_begin" else range(5, 1_000_000, 5)

    def fragile(real):
        def call(*args, **kwargs):
            if next(calls) in fails:
                raise ZeroDivisionError("not the target's")
            return real(*args, **kwargs)

        return call

    with Bench() as bench:
        bench.stream(lambda _s: (yield get("/x")), rate=300)
        if place == "received":
            monkeypatch.setattr(sockets, "received", fragile(sockets.received))
        elif place == "done":
            kept = bench.engine.transport.clock
            monkeypatch.setattr(type(kept), "done", fragile(type(kept).done))
        else:
            kept = getattr(sockets.SocketTransport, place)
            monkeypatch.setattr(sockets.SocketTransport, place, fragile(kept))
        bench.until(lambda: bench.counters.engine_errors >= 3)
        bench.until(lambda: bench.counters.completed >= 40)
        rows = bench.finish(grace_s=5)
        assert {row["outcome"] for row in rows} <= {"ok", "not_sent"}
        assert len({row["request"] for row in rows}) == len(rows)
        totals = bench.engine.totals()
        assert totals["completed"] == totals["planned"]
        assert len(rows) + totals["engine_errors"] == totals["planned"]


def connection(state, *, sent_ns, started_ns=0, chunks=None):
    attempt = SimpleNamespace(
        started_ns=started_ns, sent_ns=sent_ns, timeout_ns=2 * S, connect_timeout_ns=1 * S
    )
    return SimpleNamespace(state=state, chunks=chunks, task=attempt, fd=7)


@pytest.mark.parametrize(
    ("state", "sent_ns", "chunks", "now_ns", "outcome"),
    [
        (CONNECTING, -1, None, S, None),
        (CONNECTING, -1, None, S + 1, Outcome.CONNECT_TIMEOUT),
        (HANDSHAKE, -1, None, S + 1, Outcome.CONNECT_TIMEOUT),
        (READY, -1, None, 2 * S + 1, Outcome.FIRST_BYTE_TIMEOUT),
        (READY, S, None, 3 * S, None),  # its deadline counts from when it was written
        (READY, S, None, 3 * S + 1, Outcome.FIRST_BYTE_TIMEOUT),
        (READY, S, [b"half"], 3 * S + 1, Outcome.BODY_TIMEOUT),
    ],
)
def test_what_is_over_its_deadline(state, sent_ns, chunks, now_ns, outcome):
    one = connection(state, sent_ns=sent_ns, chunks=chunks)
    assert overdue(one, one.task, now_ns) is outcome


@pytest.mark.parametrize(
    ("state", "was_taken", "chunks", "now_ns", "outcome"),
    [
        (READY, False, None, 0, Outcome.FIRST_BYTE_TIMEOUT),
        (READY, False, [b"half"], 0, Outcome.BODY_TIMEOUT),
        (CONNECTING, True, None, 9 * S, Outcome.NOT_SENT),  # it waits for us
        (CONNECTING, False, None, S - 1, Outcome.NOT_SENT),  # there was no time
        (CONNECTING, False, None, S, Outcome.CONNECT_TIMEOUT),
    ],
)
def test_the_end_books_only_what_the_target_owes(state, was_taken, chunks, now_ns, outcome):
    one = connection(state, sent_ns=-1, chunks=chunks)
    assert owed(one, now_ns, was_taken=was_taken) is outcome
