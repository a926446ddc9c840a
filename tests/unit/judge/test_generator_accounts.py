"""What a generator says of itself is held against its rows, to the last one; what it says of its
own failures is believed.
"""

import pytest

from stormgate.evidence.laws import Firsts, generator_problem
from stormgate.judge.rules.accounts import unrecorded
from stormgate.judge.rules.generator import own_failures, saturation
from stormgate.judge.rules.validity import check_generator
from stormgate.judge.rules.workload import check_workload
from stormgate.model import Event, Validity, Verdict


def row(**more):
    return {
        "at_ns": 1, "worker": "w", "window_s": 1.0, "planned": 10, "sent": 10,
        "not_sent": 0, "rows": 10, "send_lag_p99_ms": 0.1, "send_lag_max_ms": 0.2,
        "cpu": 0.1, "flow_errors": 0,
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "firsts", "says"),
    [
        ({}, Firsts(acted=10, written=10), None),
        ({}, Firsts(acted=9, written=9), "1 have no row"),
        ({}, Firsts(acted=11, written=11), "1 too many"),
        ({"in_flight": 1, "completed": 9}, Firsts(acted=9, written=9), None),
        ({"in_flight": 1, "completed": 9}, Firsts(acted=8, written=8), "1 have no row"),
        ({"planned": 12, "not_sent": 2}, Firsts(acted=10, written=10, unsent=2), None),
        ({"planned": 12, "not_sent": 2}, Firsts(acted=10, written=10, unsent=1), "1 rows say so"),
        ({}, Firsts(acted=10, written=10, unsent=3), "3 rows say so"),
        ({"planned": 11}, Firsts(acted=10, written=10), "1 are not accounted for"),
        # the target refused four of them
        ({"sent": 6, "unreached": 4}, Firsts(acted=10, written=6), None),
        ({"sent": 6, "unreached": 4}, Firsts(acted=10, written=7), "wrote 6"),
        ({"sent": 6, "unreached": 4}, Firsts(acted=10, written=5), "wrote 6"),
        ({"sent": 6}, Firsts(acted=10, written=6), "4 are not accounted for"),
        # retries: further attempts are no requests of their own, unless a tool counts them so
        ({}, Firsts(acted=10, written=10, again=5), None),
        ({"planned": 15, "sent": 15}, Firsts(acted=10, written=10, again=5), None),
        ({"planned": 13, "sent": 13}, Firsts(acted=10, written=10, again=5), "3 have no row"),
    ],
)
def test_counts_and_rows_agree_to_the_last_one(counts, firsts, says):
    problems = unrecorded([row(**counts)], {"w": firsts})
    if says is None:
        assert problems == []
    else:
        assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize("key", ["unreached", "waiting", "engine_errors", "locked_out"])
@pytest.mark.parametrize("value", [None, float("nan"), -1, "0", True])
def test_what_may_stand_there_is_a_number_if_it_stands_there(key, value):
    assert generator_problem(row()) is None
    assert key in str(generator_problem(row(**{key: value})))


def test_what_a_silent_target_holds_up_is_no_shortfall():
    rules = Validity()
    held = {"planned": 1000, "sent": 0, "send_lag_p99_ms": None}
    assert "sent 0 of 1000" in str(saturation(row(**held), rules))
    assert saturation(row(**held, waiting=0), rules) is None
    assert "sent 0 of 1000" in str(saturation(row(**held, waiting=1000), rules))
    assert saturation(row(**held, unreached=1000, completed=1000), rules) is None


def test_a_failure_of_the_engine_is_the_generators_and_never_excused():
    why = "Traceback\n  File x\nZeroDivisionError: not the user's\n"
    told = [{"event": Event.LOAD_ENGINE_ERROR, "traceback": why, "worker": "w"}]
    rows = [row(), row(engine_errors=2), row(engine_errors=1)]
    assert own_failures([row()], []) == []
    failures = own_failures(rows, told)
    assert failures == [
        "generator failed: the engine of w 3 times: ZeroDivisionError: not the user's"
    ]
    assert "ZeroDivisionError" in own_failures([row()], told)[0]
    assert "engine failed" in str(saturation(rows[1], Validity()))
    from stormgate.judge.rules.generator import health_of

    health = health_of([row(at_ns=10**9), row(at_ns=2 * 10**9)], Validity(), 0, 2 * 10**9)
    assert check_generator(health, [], []).verdict is Verdict.PASS
    assert check_generator(health, [], [], failures).verdict is Verdict.INCONCLUSIVE


def test_streams_that_never_logged_in_are_named():
    told = [
        {
            "event": Event.LOAD_FLOW_ERROR,
            "flow": "Reader.login",
            "over_failure": True,
            "traceback": 'Traceback\n  File "load.py", line 7, in login\nValueError: no JSON\n',
        }
    ]
    rows = [row(locked_out=3), row(worker="w2", locked_out=1), row(worker="w2", locked_out=2)]
    finding = check_workload(rows, told, allowed=0)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "5 streams could not log in and sent nothing" in finding.why
    assert "Reader.login: ValueError: no JSON" in finding.why
    assert "load.py" in finding.why
    # one that was tried again and came in has its failure told, no more
    again = [row(locked_out=3, flow_errors_over_failures=3), row(locked_out=0)]
    assert check_workload(again, told, allowed=0).verdict is Verdict.PASS
