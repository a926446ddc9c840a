"""Attempts over a played transport: what is tried again and where, what a redirect carries on, and
that the books add up whatever comes back.
"""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.load.engine.rig import MS, OK, Rig, S, answer, books

from stormgate.load import Retry, get, post
from stormgate.load.engine.pool import Pool
from stormgate.model import Outcome

REFUSED, RESET, NOT_SENT = Outcome.REFUSED, Outcome.RESET, Outcome.NOT_SENT
TIMEOUT, DNS = Outcome.FIRST_BYTE_TIMEOUT, Outcome.DNS
BUSY = answer(503)


def script(*steps):
    """One step after the other; the last one for ever."""
    left = list(steps)
    return lambda _attempt: left.pop(0) if len(left) > 1 else left[0]


def edges(rig):
    return "".join(edge for edge, *_ in rig.transport.submitted)


# --- retries


@pytest.mark.parametrize(
    ("steps", "retry", "way", "outcomes"),
    [
        ((OK,), Retry(3), "a", ["ok"]),
        ((REFUSED, OK), None, "a", ["refused"]),
        ((REFUSED, OK), Retry(1), "a", ["refused"]),
        ((REFUSED, OK), Retry(2), "ab", ["refused", "ok"]),
        ((RESET, RESET, OK), Retry(2), "ab", ["reset", "reset"]),
        ((REFUSED, RESET, OK), Retry(3), "abc", ["refused", "reset", "ok"]),
        ((REFUSED,), Retry(5), "abcab", ["refused"] * 5),
        ((REFUSED, OK), Retry(2, next_edge=False), "aa", ["refused", "ok"]),
        # what is not asked for is not tried again
        ((TIMEOUT, OK), Retry(3), "a", ["first_byte_timeout"]),
        ((TIMEOUT, OK), Retry(3, on={TIMEOUT}), "ab", ["first_byte_timeout", "ok"]),
        ((REFUSED, TIMEOUT, OK), Retry(3), "ab", ["refused", "first_byte_timeout"]),
        ((BUSY, OK), Retry(3), "a", ["bad_status"]),
        ((BUSY, OK), Retry(3, on={Outcome.BAD_STATUS}), "ab", ["bad_status", "ok"]),
        # the generator's own limit says nothing of the target
        ((NOT_SENT, OK), Retry(3, on={REFUSED, NOT_SENT}), "a", ["not_sent"]),
        ((REFUSED, NOT_SENT, OK), Retry(3), "ab", ["refused", "not_sent"]),
    ],
)
def test_what_is_tried_again_and_where(steps, retry, way, outcomes):
    rig = Rig(script(*steps))
    (reply,) = rig.once(get("/x", retry=retry))
    assert edges(rig) == way
    assert rig.outcomes() == outcomes
    assert reply.outcome.value == outcomes[-1]
    rows = rig.rows()
    assert {row["request"] for row in rows} == {1}
    assert len({row["intended_ns"] for row in rows}) == 1
    assert books(rows, rig.engine.totals()) == []


def test_a_request_counts_as_what_its_first_attempt_came_to():
    rig = Rig(script(REFUSED, OK))
    rig.once(get("/x", retry=Retry(2)))
    assert (rig.counters.sent, rig.counters.unreached, rig.counters.not_sent) == (0, 1, 0)


def test_a_retry_follows_the_steering_of_its_moment():
    rig = Rig()

    def steered(attempt):
        if attempt.attempt == 1:
            rig.place.steer(("c", "a"))
            return REFUSED
        return OK

    rig.transport.play = steered
    rig.once(get("/x", retry=Retry(2, next_edge=False)))
    assert edges(rig) == "ac"


def test_the_next_edge_is_the_next_of_the_order_that_holds_now():
    rig = Rig()
    rig.place.steer(("b", "c"))
    rig.transport.play = script(REFUSED, REFUSED, OK)
    rig.once(get("/x", retry=Retry(3)))
    assert edges(rig) == "bcb"


def test_each_attempt_has_the_whole_deadline_from_its_own_start():
    deadlines = []

    def play(attempt):
        deadlines.append((attempt.timeout_ns, attempt.connect_timeout_ns))

    rig = Rig(play)
    request = get("/x", timeout_s=0.5, connect_timeout_s=0.2, retry=Retry(3, on={TIMEOUT}))
    rig.once(request)
    assert deadlines == [(500 * MS, 200 * MS)] * 3
    begun = [at_ns for *_, at_ns in rig.transport.submitted]
    assert [later - sooner for sooner, later in itertools.pairwise(begun)] == [500 * MS] * 2
    rows = rig.rows()
    assert [row["done_ns"] - row["sent_ns"] for row in rows] == [500 * MS] * 3
    # ... while latency counts from when the user wanted it
    assert rows[-1]["done_ns"] - rows[-1]["intended_ns"] >= 1500 * MS


def test_a_retry_is_dressed_for_its_own_edge():
    rig = Rig(script(REFUSED, OK), url="http://{edge}.test/at-{edge}")
    rig.once(get("/x", retry=Retry(2)), headers={"X-Tenant": "7"})
    first, second = (payload for _, payload, *_ in rig.transport.submitted)
    assert first.startswith(b"GET /at-a/x HTTP/1.1\r\nHost: a.test\r\n")
    assert second.startswith(b"GET /at-b/x HTTP/1.1\r\nHost: b.test\r\n")
    assert b"X-Tenant: 7\r\n" in first
    assert b"X-Tenant: 7\r\n" in second


# --- redirects


def to(status, location, **more):
    return answer(status, f"Location: {location}", **more)


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [
        (301, "GET", b""),
        (302, "GET", b""),
        (303, "GET", b""),
        (307, "POST", b"v"),
        (308, "POST", b"v"),
    ],
)
def test_a_redirect_is_a_sample_of_its_own_and_keeps_what_it_should(status, method, body):
    rig = Rig(script((to(status, "/y"), 5 * MS), (OK, 7 * MS)))
    (reply,) = rig.once(post("/x", data="v", redirects=1, name="write"))
    first, second = rig.rows()
    assert reply.status == 200
    assert (first["request"], second["request"]) == (1, 2)
    assert (first["status"], first["outcome"]) == (status, "ok")
    assert second["intended_ns"] == first["done_ns"]
    payload = rig.transport.submitted[1][1]
    assert payload.startswith(f"{method} /y HTTP/1.1\r\n".encode())
    head, _, sent = payload.partition(b"\r\n\r\n")
    assert sent == body
    assert (b"Content-Length" in head) == bool(body)
    assert books(rig.rows(), rig.engine.totals()) == []


SECRETS = {"Authorization": "Bearer s", "Cookie": "a=b", "X-Tenant": "7"}


@pytest.mark.parametrize(
    ("location", "edge", "keeps"),
    [
        ("/y", "a", True),
        ("http://a.test/y", "a", True),
        ("http://A.TEST:80/y", "a", True),
        ("http://b.test/y", "b", False),
        ("http://a.test:8080/y", "http://a.test:8080", False),
        ("http://elsewhere.test/y", "http://elsewhere.test", False),
    ],
)
def test_credentials_stay_with_the_origin_they_were_meant_for(location, edge, keeps):
    def elsewhere(place, origin):
        return Pool(f"http://{origin.netloc}", origin, place.model, is_edge=False, is_own=False)

    rig = Rig(script(to(307, location), to(307, "/z"), OK), elsewhere=elsewhere)
    rig.once(get("/x", redirects=2), headers=SECRETS)
    assert [where for where, *_ in rig.transport.submitted] == ["a", edge, edge]
    for _, payload, *_ in rig.transport.submitted[1:]:
        assert (b"Authorization:" in payload) == keeps
        assert (b"Cookie:" in payload) == keeps
        assert b"X-Tenant: 7" in payload


def test_credentials_once_dropped_stay_dropped_when_a_redirect_leads_back():
    rig = Rig(script(to(307, "http://b.test/y"), to(307, "http://a.test/z"), OK))
    rig.once(get("/x", redirects=2), headers=SECRETS)
    assert edges(rig) == "aba"
    held = [b"Authorization" in payload for _, payload, *_ in rig.transport.submitted]
    assert held == [True, False, False]


def test_redirects_end_at_their_limit_and_the_last_answer_counts():
    rig = Rig(script(to(302, "/again")))
    (reply,) = rig.once(get("/x", redirects=2, expect={302}))
    assert [row["status"] for row in rig.rows()] == [302] * 3
    assert reply.status == 302
    assert [(kind, why) for kind, _, why in rig.said] == [
        ("redirect", "a 302 is the final answer: beyond the 2 to follow")
    ]


def test_each_request_of_a_flow_may_be_redirected_anew():
    rig = Rig(script(to(302, "/y"), OK, to(302, "/y"), OK))
    replies = rig.once(get("/x", redirects=1), get("/x", redirects=1))
    assert [reply.status for reply in replies] == [200, 200]


def test_a_hop_has_attempts_of_its_own():
    rig = Rig(script(REFUSED, to(302, "/y"), REFUSED, OK))
    (reply,) = rig.once(get("/x", redirects=1, retry=Retry(2)))
    rows = rig.rows()
    assert [(row["request"], row["attempt"]) for row in rows] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert reply.status == 200
    assert books(rows, rig.engine.totals()) == []


def test_what_a_flow_wants_of_an_answer_it_wants_of_the_final_one():
    seen = []
    rig = Rig(script(to(302, "/y"), answer(200, body=b"right")))
    request = get("/x", redirects=1, expect={200}, check=lambda r: seen.append(r.body) or True)
    rig.once(request)
    assert rig.outcomes() == ["ok", "ok"]
    assert seen == [b"right"]


# --- the end, and what breaks


def test_once_it_stops_nothing_is_tried_again_and_no_redirect_followed():
    rig = Rig(lambda a: (to(302, "/y") if a.request.name == "moved" else RESET, 200 * MS))
    rig.stream(lambda _s: (yield get("/x", name="moved", redirects=3)))
    rig.stream(lambda _s: (yield get("/x", name="cut", retry=Retry(3))))
    rig.run(100 * MS)
    rig.engine.stop_arrivals()
    planned = rig.engine.planned
    rows = rig.finish(grace_ns=S)
    assert rig.engine.planned == planned
    assert {row["attempt"] for row in rows} == {1}
    assert {row["outcome"] for row in rows} == {"ok", "reset"}
    assert len(rig.transport.submitted) == len(rows)
    assert books(rows, rig.engine.totals()) == []


class Broken:
    def __contains__(self, _outcome):
        raise RuntimeError("somebody's hand was in it")


def test_a_retry_that_is_broken_ends_its_own_flow_and_is_the_flows_error():
    retry = Retry(2)
    object.__setattr__(retry, "on", Broken())
    rig = Rig(script(RESET))
    rig.stream(lambda _s: (yield get("/bad", retry=retry)))
    rig.stream(lambda _s: (yield get("/good", retry=Retry(2))))
    rig.run(S)
    rows = rig.finish(grace_ns=S)
    assert rig.counters.flow_errors_over_failures + rig.counters.flow_errors > 50
    assert {len([r for r in rows if r["route"] == name]) > 50 for name in ("/bad", "/good")} == {
        True
    }
    assert rig.counters.engine_errors == 0
    assert books(rows, rig.engine.totals()) == []


def test_what_the_transport_itself_failed_over_has_no_row_and_no_reply():
    rig = Rig()
    rig.stream(lambda _s: (yield get("/x")))
    rig.transport.play = lambda _attempt: None
    rig.until(lambda: rig.transport.held)
    task = next(iter(rig.transport.held.values()))
    rig.transport._due.clear()
    rig.transport.held.clear()
    rig.transport.ended.append((task, None, 0, b"", rig.clock(), None))
    rig.engine.wake()
    assert rig.rows() == []
    assert rig.engine.in_flight == 0


@pytest.mark.parametrize("play", [lambda _a: OK, lambda _a: RESET])
def test_what_escapes_over_one_request_is_counted_and_the_others_are_not_lost(play, monkeypatch):
    rig = Rig(play)
    pack, calls = rig.attempts._pack, itertools.count(1)

    def fragile(*row):
        if next(calls) == 3:
            raise ZeroDivisionError("not the target's")
        return pack(*row)

    monkeypatch.setattr(rig.attempts, "_pack", fragile)
    rig.stream(lambda _s: (yield get("/x")))
    rig.run(S)
    rig.finish(grace_ns=S)
    totals = rig.engine.totals()
    assert totals["engine_errors"] == 1
    assert totals["completed"] == totals["planned"] == len(rig.rows()) + 1


STEPS = st.sampled_from(
    [OK, BUSY, to(302, "/y"), to(307, "http://b.test/z"), REFUSED, RESET, TIMEOUT, DNS, NOT_SENT,
     None]
)  # fmt: skip
RETRIES = st.none() | st.builds(
    Retry,
    attempts=st.integers(1, 4),
    on=st.sets(st.sampled_from([o for o in Outcome if o is not Outcome.OK])),
    next_edge=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(STEPS, st.integers(0, 80 * MS)), min_size=1, max_size=12),
    retry=RETRIES,
    redirects=st.integers(0, 3),
    length=st.integers(1, 3),
    room=st.integers(1, 6),
    grace_ns=st.sampled_from([0, 20 * MS, 2 * S]),
)
def test_every_request_ends_as_exactly_one_outcome(steps, retry, redirects, length, room, grace_ns):
    turns = itertools.cycle(steps)

    def play(_attempt):
        found, after_ns = next(turns)
        return None if found is None else (found, after_ns)

    def flow(_session):
        for _ in range(length):
            yield get("/x", timeout_s=0.06, retry=retry, redirects=redirects)

    rig = Rig(play, room=room)
    rig.stream(flow, rate=200)
    rig.run(300 * MS)
    rows = rig.finish(grace_ns)
    assert rig.engine_errors == []
    assert rig.engine.in_flight == 0
    assert books(rows, rig.engine.totals()) == []
    # one row an attempt that was submitted, and no other
    assert len(rows) == len(rig.transport.submitted)
