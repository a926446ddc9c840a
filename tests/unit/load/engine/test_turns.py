"""The engine's turns under a played clock: the plan is carried out whatever the target does, what
could not be started is booked as such, and the end leaves nothing over.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.load.engine.rig import BUSY_NS, MS, OK, Rig, S, books

from stormgate.load import get, think
from stormgate.load.engine.backpressure import OPEN_PER_S, STARTS_PER_TICK
from stormgate.load.schedule.arrivals import Arrivals
from stormgate.load.schedule.queue import WINDOW_NS
from stormgate.model import Outcome


def ask(name="/x", **options):
    def flow(_session):
        yield get(name, **options)

    return flow


def intended(rows):
    return [row["intended_ns"] for row in rows]


# --- the plan


@pytest.mark.parametrize("poisson", [False, True])
@pytest.mark.parametrize(
    "play",
    [lambda _a: OK, lambda _a: (OK, 700 * MS), lambda _a: None, lambda _a: Outcome.REFUSED],
)
def test_the_plan_is_the_seeds_alone_however_the_target_answers(play, poisson):
    rig = Rig(play)
    begin_ns = rig.clock.now_ns
    streams = [rig.stream(ask(), rate=rate, poisson=poisson) for rate in (40, 90, 7)]
    rig.run(S)
    rows = rig.finish(grace_ns=S)
    plan = Arrivals()
    for stream in streams:
        plan.add(stream, stream.key, stream.rate_per_s, poisson=poisson, begin_ns=begin_ns)
    times, _ = plan.until(begin_ns + S)
    assert intended(rows) == times.tolist()
    assert {row["outcome"] for row in rows}.isdisjoint({"not_sent"})


def test_a_flow_that_asks_for_nothing_takes_its_arrival_and_leaves_no_row():
    begun = []

    def idle(_session):
        begun.append(1)
        yield from ()

    rig = Rig()
    rig.stream(idle, rate=100)
    rig.run(S)
    assert len(begun) == pytest.approx(100, abs=2)
    assert rig.finish() == []
    assert rig.engine.planned == 0


def test_a_surge_holds_from_the_next_window_on_and_ends_so():
    rig = Rig()
    rig.stream(ask(), rate=100)
    counts = []
    for factors in ({}, {"": 3.0}, {"london": 2.0, "": 3.0}, {"lima": 9.0}, {}):
        rig.engine.surge(factors)
        rig.run(200 * MS)  # what is handed out stays as it is
        before = rig.engine.planned
        rig.run(S)
        counts.append(rig.engine.planned - before)
    assert counts == pytest.approx([100, 300, 600, 100, 100], abs=8)
    assert set(rig.outcomes()) == {"ok"}


def test_a_stream_that_goes_ends_its_arrivals_and_not_its_flows():
    def long(_session):
        yield get("/first")
        yield think(1.0)
        yield get("/second")

    rig = Rig()
    stream = rig.stream(long, rate=10)
    rig.run(S)
    rig.engine.remove_stream(stream)
    rig.run(3 * S)
    routes = [row["route"] for row in rig.rows()]
    assert routes.count("/first") == routes.count("/second") == pytest.approx(10, abs=1)


# --- lateness


def test_a_late_wake_up_sends_late_and_dates_back():
    rig = Rig()
    rig.stream(ask(), rate=100)
    rig.run(200 * MS)
    before = rig.engine.planned
    rig.counters.take_lags()
    rig.clock.now_ns += 500 * MS  # held up
    rig.engine.wake()
    lags, loop_lag_ns = rig.counters.take_lags()
    assert len(lags) == rig.engine.planned - before == pytest.approx(50, abs=2)
    assert loop_lag_ns == pytest.approx(500 * MS, rel=0.05)
    assert max(lags) == pytest.approx(500 * MS, rel=0.05)
    rows = rig.finish()
    assert {row["outcome"] for row in rows} == {"ok"}
    assert np.diff(intended(rows)).max() == pytest.approx(10 * MS)  # no gap in the plan


def test_what_is_later_than_it_may_be_is_not_sent_and_the_rest_is():
    rig = Rig(max_late_ns=300 * MS)
    rig.stream(ask(), rate=1000)
    rig.run(100 * MS)
    rig.clock.now_ns += 2 * S
    late_ns = rig.clock.now_ns - 300 * MS
    rig.run(500 * MS)
    rows = rig.finish()
    unsent = [row["intended_ns"] for row in rows if row["outcome"] == "not_sent"]
    sent = [row["intended_ns"] for row in rows if row["outcome"] == "ok"]
    assert max(unsent) <= late_ns + WINDOW_NS  # a whole window at once
    assert min(at_ns for at_ns in sent if at_ns > unsent[0]) > late_ns  # and nothing later is
    assert len(unsent) == pytest.approx(1750, abs=60)
    assert all(row["sent_ns"] is None for row in rows if row["outcome"] == "not_sent")
    assert np.diff(sorted(intended(rows))).max() <= MS + 1  # nothing planned is missing
    assert books(rows, rig.engine.totals()) == []


def test_past_its_capacity_it_starts_what_fits_opens_few_and_books_the_rest():
    rig = Rig(lambda _a: (OK, MS), cost_ns=MS)  # a thousand a second at most
    rig.stream(ask(), rate=4000)
    begin_ns = rig.clock.now_ns
    rig.run(4 * S)
    elapsed_s = (rig.clock.now_ns - begin_ns) / S
    assert elapsed_s < 4.5  # it lets go
    guarded = [left for left in rig.transport.allowances if left < 1000]
    assert guarded, "the guard never stood"
    assert max(guarded) <= STARTS_PER_TICK
    sent = rig.counters.sent
    rows = rig.finish(grace_ns=S)
    assert {row["outcome"] for row in rows} == {"ok", "not_sent"}
    assert 0.8 * 1000 < sent / elapsed_s <= 1000  # at its peak all the same
    assert rig.counters.not_sent == pytest.approx(elapsed_s * 4000 - sent, rel=0.15)
    assert books(rows, rig.engine.totals()) == []


def test_past_its_capacity_it_rations_new_connections():
    begun = []

    def play(_attempt):
        begun.append(rig.engine.pressure.saturated)
        return OK, MS

    rig = Rig(play, cost_ns=MS, keeps=False)
    rig.stream(ask(), rate=4000)
    rig.run(2 * S)
    assert begun.count(True) > 5
    assert begun.count(True) <= 2 * OPEN_PER_S + STARTS_PER_TICK


def test_a_target_that_stalls_is_never_mistaken_for_overload():
    rig = Rig(lambda _a: None)
    rig.stream(ask(timeout_s=30), rate=500)
    for _ in range(40):
        rig.run(50 * MS)
        assert not rig.engine.pressure.saturated
    assert len(rig.transport.held) == rig.engine.planned == pytest.approx(1000, abs=2)


# --- waking


def test_at_a_low_rate_it_wakes_for_what_is_next_and_at_a_high_one_by_ticks():
    rig = Rig()
    slow = rig.stream(ask(), rate=10)
    assert not rig.alarm.is_ticking
    assert rig.alarm.at_ns == rig.clock.now_ns + BUSY_NS  # a window is to be planned
    rig.engine.wake()
    wakes = []
    for _ in range(30):
        rig.clock.now_ns = rig.alarm.at_ns
        wakes.append(rig.alarm.at_ns)
        rig.engine.wake()
    assert rig.engine.agenda.times[rig.engine.agenda.next] >= rig.clock.now_ns
    assert set(intended(rig.rows())) <= set(wakes)  # at its very time
    fast = rig.stream(ask(), rate=5000)
    assert rig.alarm.is_ticking
    rig.engine.remove_stream(fast)
    rig.engine.wake()
    assert not rig.alarm.is_ticking
    rig.engine.remove_stream(slow)
    rig.run(S)
    assert rig.alarm.at_ns <= rig.clock.now_ns + S  # a living one wakes once a second
    assert not rig.engine.is_dead(rig.clock.now_ns)
    assert rig.engine.is_dead(rig.clock.now_ns + 3 * S)


def test_a_pause_ends_when_it_is_over():
    def flow(_session):
        yield get("/first")
        yield think(0.0373)
        yield get("/second")

    rig = Rig(lambda _a: (OK, 11 * MS))
    rig.stream(flow, rate=0.9, poisson=False)
    rig.run(4 * S)
    rows = rig.finish(grace_ns=S)
    rows = rows[: len(rows) // 2 * 2]  # the last one may have had no time
    assert [row["route"] for row in rows] == ["/first", "/second"] * (len(rows) // 2)
    assert len(rows) >= 6
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert second["intended_ns"] == first["done_ns"] + 37_300_000
        assert second["sent_ns"] - second["intended_ns"] <= BUSY_NS


def test_requests_that_end_at_once_do_not_hold_the_hub():
    """No address: each request of a flow without a pause ends where it begins."""

    def restless(_session):
        while True:
            yield get("/x")

    class AtOnce:
        def __init__(self, transport):
            self.submits = 0
            self._transport = transport

        def __call__(self, attempt):
            self.submits += 1
            attempt.sent_ns = -1
            self._transport.ended.append(
                (attempt, Outcome.DNS, 0, b"", self._transport.clock(), None)
            )

    rig = Rig()
    rig.transport.submit = at_once = AtOnce(rig.transport)
    rig.stream(restless, rate=10)
    rig.until(lambda: at_once.submits)
    before = at_once.submits
    rig.engine.wake()  # it returns
    assert 0 < at_once.submits - before < 1000
    assert rig.alarm.at_ns <= rig.clock.now_ns + BUSY_NS  # and wants to be back at once


# --- flows


def boom():
    raise ValueError("the user's")


def raises_at_once(_session):
    boom()


def raises_before(_session):
    boom()
    yield get("/never")


def raises_after(_session):
    yield get("/before")
    boom()


def yields_nonsense(_session):
    yield "/x"


def is_none(_session):
    return None


@pytest.mark.parametrize(
    ("flow", "asked"),
    [
        (raises_at_once, 0),
        (raises_before, 0),
        (raises_after, 1),
        (yields_nonsense, 0),
        (is_none, 0),
    ],
)
def test_a_flow_that_raises_ends_itself_and_no_other(flow, asked):
    rig = Rig()
    rig.stream(flow, name="bad", rate=50)
    rig.stream(ask("/good"), rate=50)
    rig.run(S)
    rows = rig.finish(grace_ns=S)
    assert rig.counters.flow_errors == pytest.approx(50, abs=2)
    assert len(rig.flow_errors) == 1  # said once a place
    assert rig.flow_errors[0][0] == "bad"
    routes = [row["route"] for row in rows]
    assert routes.count("/good") == pytest.approx(50, abs=2)
    assert len(routes) - routes.count("/good") == pytest.approx(50 * asked, abs=2)
    assert rig.engine_errors == []
    assert books(rows, rig.engine.totals()) == []


# --- the end


def test_what_is_in_flight_at_the_end_has_its_grace_and_then_its_timeout():
    rig = Rig(lambda a: (OK, 100 * MS) if a.request.name == "/soon" else None)
    rig.stream(ask("/soon"), rate=100)
    rig.stream(ask("/never", timeout_s=60), rate=100)
    rig.run(S)
    held = rig.engine.in_flight
    rows = rig.finish(grace_ns=500 * MS)
    ends = {
        row["route"]: {r["outcome"] for r in rows if r["route"] == row["route"]} for row in rows
    }
    assert ends == {"/soon": {"ok"}, "/never": {"first_byte_timeout"}}
    assert held == pytest.approx(110, abs=3)
    assert rig.engine.in_flight == 0
    assert rig.transport.is_closed
    assert books(rows, rig.engine.totals()) == []


def test_what_waits_for_a_connection_at_the_end_was_not_sent():
    rig = Rig(lambda _a: (OK, 1100 * MS), room=3)
    rig.stream(ask(timeout_s=60), rate=100)
    rig.run(S)
    assert rig.transport.waiting() == pytest.approx(97, abs=2)
    rows = rig.finish(grace_ns=S)  # in which connections come free
    outcomes = [row["outcome"] for row in rows]
    assert outcomes.count("ok") == 3
    assert outcomes.count("not_sent") == len(rows) - 3
    assert books(rows, rig.engine.totals()) == []


def test_what_came_due_while_the_end_was_on_its_way_is_still_sent_or_booked():
    rig = Rig()
    rig.stream(ask(), rate=1000)
    rig.run(500 * MS)
    rig.clock.now_ns += 20 * MS  # nobody woke it since
    rows = rig.finish()
    assert len(rows) == pytest.approx(520, abs=2)
    assert intended(rows)[-1] >= rig.clock.now_ns - 2 * MS
    assert books(rows, rig.engine.totals()) == []


def test_an_engine_that_did_not_wake_for_long_books_its_backlog():
    rig = Rig()
    rig.stream(ask(), rate=100)
    rig.run(500 * MS)
    rig.clock.now_ns += 5 * S
    rows = rig.finish()
    assert rig.counters.not_sent == pytest.approx(500, abs=3)
    assert {row["outcome"] for row in rows} == {"ok", "not_sent"}
    assert books(rows, rig.engine.totals()) == []


def test_flows_that_only_pause_let_the_end_come():
    def restless(_session):
        while True:
            yield think(0)

    rig = Rig(step_ns=MS)
    rig.stream(restless, rate=100)
    rig.run(300 * MS)
    begin_ns = rig.clock.now_ns
    rig.finish()
    assert rig.clock.now_ns - begin_ns < S


def test_after_the_end_nothing_is_begun():
    def chain(_session):
        while True:
            yield get("/x")

    rig = Rig(lambda _a: (OK, 10 * MS))
    rig.stream(chain, rate=50)
    rig.run(300 * MS)
    rig.engine.stop_arrivals()
    before = len(rig.transport.submitted)
    rig.run(2 * S)
    assert len(rig.transport.submitted) == before
    assert rig.engine.in_flight == 0
    assert books(rig.rows(), rig.engine.totals()) == []


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from([20, 200, 2100]),
    poisson=st.booleans(),
    latency_ns=st.integers(0, 400 * MS),
    room=st.integers(1, 40),
    cost_ns=st.sampled_from([0, MS // 10, 2 * MS]),
    stalls=st.lists(st.sampled_from([0, 3, 40, 170, 450]), min_size=1, max_size=3),
    max_late_ms=st.sampled_from([50, 300]),
)
def test_each_planned_arrival_is_sent_or_not_sent_once(
    rate, poisson, latency_ns, room, cost_ns, stalls, max_late_ms
):
    rig = Rig(lambda _a: (OK, latency_ns), room=room, cost_ns=cost_ns, max_late_ns=max_late_ms * MS)
    begin_ns = rig.clock.now_ns
    stream = rig.stream(ask(timeout_s=0.2), rate=rate, poisson=poisson)
    for stall_ms in stalls:
        rig.run(50 * MS)
        rig.clock.now_ns += stall_ms * MS
    end_ns = rig.clock.now_ns
    rows = rig.finish(grace_ns=100 * MS)
    plan = Arrivals()
    plan.add(stream, stream.key, rate, poisson=poisson, begin_ns=begin_ns)
    times = plan.until(rig.clock.now_ns + S)[0].tolist()
    found = sorted(intended(rows))
    assert found == times[: len(found)], "every arrival in turn, once"
    assert len(found) >= sum(at_ns <= end_ns for at_ns in times)
    assert books(rows, rig.engine.totals()) == []
    for first, second in itertools.pairwise(rig.rows()):
        assert (first["request"], first["attempt"]) != (second["request"], second["attempt"])
