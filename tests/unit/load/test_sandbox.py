"""Whatever a user's code hands to the engine, only its own flow ends: the engine lives, another
user class is unharmed, and nothing is laid at the target's door.
"""

import decimal

import gevent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.load.engine_bench import Bench

from stormgate.load import Retry, delete, get, post, request, think
from stormgate.load.flow import Think
from stormgate.model import Outcome


class Evil:
    """Refuses to be looked at in any way."""

    def _no(self, *_):
        raise RuntimeError("do not look at me")

    __repr__ = __str__ = __bool__ = __iter__ = __len__ = __eq__ = __lt__ = __int__ = __float__ = _no
    __call__ = __getitem__ = __index__ = __format__ = __contains__ = _no

    def __hash__(self):
        raise RuntimeError("do not look at me")


async def later(_reply):
    return True


def steps(_reply):
    yield True


WRONG = [
    None, True, False, -1, 0, 3, 10**400, 1.5, -0.0, float("nan"), float("inf"), -float("inf"),
    1e300, "", "x", "/x", "\ud800", "é", "a\r\nb: c", b"x", b"\xff", [], [1], (), (5,), {}, {1: 2},
    {"a": object()}, {"a": "\r\n"}, {"\ud800": "x"}, {"a": "\ud800"}, {"Content-Length": "7"},
    set(), object(), Evil(), Evil, len, later, steps, lambda: None, lambda _r: 1 / 0,
    Outcome.OK, decimal.Decimal(1), iter([1]), Retry, get, SystemExit, 5j, range(10**12),
    memoryview(b"x"),
]  # fmt: skip
OPTIONS = (
    "timeout_s", "connect_timeout_s", "name", "op", "expect", "check", "retry", "redirects",
    "decode", "headers", "json", "data", "nonsense",
)  # fmt: skip
SLOTS = ("method", "path", "name", "op", "timeout_ns", "connect_timeout_ns", "expect", "check",
         "retry", "redirects", "decode", "body", "extra", "heads", "codes", "is_plain")  # fmt: skip


def with_option(option, value):
    def flow(_session):
        yield post("/bad", **{option: value})

    return flow


def with_mutation(slot, value):
    def flow(_session):
        made = request("POST", "/bad", json=[1])  # never shared: it cannot be hashed
        setattr(made, slot, value)
        yield made

    return flow


def yielding(value):
    def flow(_session):
        yield value
        yield get("/bad")

    return flow


def stubborn(value):
    def flow(_session):
        while True:
            try:
                yield value
            except Exception:  # swallows what it is told
                continue

    return flow


def raising(value):
    def flow(_session):
        reply = yield get("/bad")
        raise value if isinstance(value, BaseException) else RuntimeError(reply)

    return flow


def calling(make, value):
    def flow(_session):
        yield make(value)
        yield get("/bad")

    return flow


def on_session(what, value):
    def flow(session):
        if what == "header name":
            session.set_header(value, "x")
        elif what == "header value":
            session.set_header("X-A", value)
        else:
            setattr(session, what, value)
        yield get("/bad")

    return flow


def on_reply(what, value):
    def flow(_session):
        def check(reply):
            setattr(reply, what, value)
            return True

        reply = yield get("/bad", check=check, retry=Retry(2))
        setattr(reply, what, value)
        yield get("/bad")

    return flow


MAKERS = (
    get, delete, think, Think, Retry, lambda v: request(v, "/bad"), lambda v: request("GET", v),
    lambda v: get("/bad", retry=Retry(attempts=v)), lambda v: get("/bad", retry=Retry(on=v)),
    lambda v: get("/bad", retry=Retry(next_edge=v)), lambda v: get("/bad", check=lambda _r: v),
)  # fmt: skip

ENDS = (SystemExit(1), GeneratorExit(), gevent.GreenletExit(), gevent.Timeout(1), None)
ATTRIBUTES = ("header name", "header value", "block", "random", "population")
# Told by number: hypothesis looks at what it draws, and some of these do not like that.
CASES = [
    *((with_option, option, value) for option in OPTIONS for value in WRONG),
    *((with_mutation, slot, value) for slot in SLOTS for value in WRONG),
    *((calling, make, value) for make in MAKERS for value in WRONG),
    *((on_session, what, value) for what in ATTRIBUTES for value in WRONG),
    *(
        (on_reply, what, value)
        for what in ("outcome", "status", "done_ns", "intended_ns")
        for value in WRONG
    ),
    *((make, value) for make in (yielding, stubborn) for value in WRONG),
    *((raising, value) for value in ENDS),
    *((lambda value: lambda _session: value, value) for value in WRONG),
    *((lambda value: value, value) for value in WRONG),  # not even a function
]


@given(
    numbers=st.lists(st.integers(0, len(CASES) - 1), min_size=1, max_size=6),
    as_login=st.booleans(),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_engine_outlives_whatever_users_hand_to_it(numbers, as_login):
    wrong = [make(*arguments) for make, *arguments in (CASES[number] for number in numbers)]

    def good(_session):
        yield get("/good", name="good")

    with Bench() as bench:
        for begin in wrong:
            if as_login:
                bench.stream(good, name="Bad", rate=2000, login=begin)
            else:
                bench.stream(begin, name="Bad", rate=2000)
        for stream in list(bench.engine.arrivals.streams):
            stream.name = "Bad"
        bench.stream(good, name="Good", rate=2000)

        def answered():
            return sum(r["route"] == "good" and r["outcome"] == "ok" for r in bench.rows())

        bench.until(lambda: answered() >= 3)
        bench.turn(3)
        before = answered()
        bench.until(lambda: answered() > before)  # it goes on
        rows = bench.finish(grace_s=5)
        assert not bench.engine.is_dead(bench.engine._beat_ns)
        assert all(row["outcome"] in ("ok", "not_sent") for row in rows if row["route"] == "good")
        # Of the wrong ones, whatever was sent was answered: none looks like the target's failure,
        # but for a check or an `expect` that says so of an answer.
        assert {row["outcome"] for row in rows} <= {"ok", "not_sent", "wrong_body", "bad_status"}
        assert bench.hub.errors == []
        assert bench.counters.engine_errors or bench.adds_up()
