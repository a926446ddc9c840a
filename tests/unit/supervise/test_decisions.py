"""The supervisor's pure decisions: when a guard stops a run, what the screen shows, which host may
be asked.
"""

from __future__ import annotations

import pyarrow as pa
import pytest

from stormgate.model import Event, Guard
from stormgate.supervise.conclude import event_text
from stormgate.supervise.watch import Watcher, guard_tripped

HALF_FOR_3S = Guard(error_rate=0.5, error_rate_for_s=3)
BAD, GOOD, NONE = (100, 60), (100, 50), (0, 0)


@pytest.mark.parametrize(
    ("seconds", "trips"),
    [
        ([BAD, BAD, BAD], True),
        ([BAD, BAD], False),  # not for long enough yet
        ([GOOD, BAD, BAD], False),
        ([BAD, BAD, GOOD], False),  # over now
        ([BAD, NONE, BAD], True),  # a second without samples does not clear it
        ([NONE, NONE, NONE], False),  # nor does silence trip it
        ([GOOD, BAD, BAD, BAD], True),
        ([], False),
    ],
)
def test_the_error_rate_guard_needs_every_second_over_the_limit(
    seconds: list[tuple[int, int]], trips: bool
) -> None:
    assert (guard_tripped(seconds, HALF_FOR_3S) is not None) is trips


def test_a_guard_that_is_off_never_trips() -> None:
    assert guard_tripped([BAD] * 100, Guard(error_rate=None)) is None


def test_the_reason_has_the_numbers() -> None:
    assert (
        guard_tripped([BAD] * 3, HALF_FOR_3S)
        == "guard: 60% of requests failed over 3 s (limit 50% for 3 s)"
    )


def block(rows: list[tuple[int, int, str]]) -> pa.RecordBatch:
    intended, done, outcome = zip(*rows, strict=True)
    return pa.record_batch(
        {
            "intended_ns": pa.array(intended, pa.int64()),
            "done_ns": pa.array(done, pa.int64()),
            "outcome": pa.array(outcome).dictionary_encode(),
        }
    )


def test_live_figures_are_of_whole_seconds_of_completion() -> None:
    second = 10**9
    watcher = Watcher()
    # Ten a second for seven seconds, each 20 ms after it was meant to start; one in ten of second 5
    # fails.
    for s in range(7):
        watcher.add(
            block(
                [
                    (
                        s * second,
                        s * second + 20_000_000 + i,
                        "reset" if s == 5 and i == 0 else "ok",
                    )
                    for i in range(10)
                ]
            )
        )
    stats = watcher.stats(8 * second)
    assert stats.samples == 70
    assert stats.rate_per_s == pytest.approx(10)
    assert stats.good_share == pytest.approx(1 - 1 / 50)
    assert stats.p95_ms == pytest.approx(20, rel=1e-3)
    assert watcher.good == 69


def test_silence_has_no_figures_rather_than_good_ones() -> None:
    stats = Watcher().stats(10**12)
    assert (stats.rate_per_s, stats.good_share, stats.p95_ms, stats.samples) == (
        None,
        None,
        None,
        0,
    )


TRACEBACK = """Traceback (most recent call last):
  File "/x/stormgate/load/engine/flows.py", line 120, in resume
    item = task.flow.send(reply)
  File "/suite/loadtests/users.py", line 15, in flow
    yield get("/" + nothing)
NameError: name 'nothing' is not defined
"""


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            {"event": Event.LOAD_FLOW_ERROR, "flow": "Reader", "traceback": TRACEBACK},
            "/suite/loadtests/users.py:15: NameError: name 'nothing' is not defined (flow of "
            "Reader)",
        ),
        (
            {
                "event": Event.LOAD_FLOW_ERROR,
                "flow": "Reader",
                "traceback": TRACEBACK,
                "over_failure": True,
            },
            None,
        ),
        (
            {"event": Event.CHAOS_FAILED, "fault": "f", "activity": "kill-it", "why": "no such"},
            "f: kill-it failed: no such",
        ),
    ],
)
def test_what_goes_wrong_is_on_the_screen_at_once(row, told):
    assert event_text(row) == told


def test_the_first_failure_says_where_nobody_answered():
    watcher = Watcher()
    row = {"event": Event.LOAD_FAILURE, "route": "home", "outcome": "refused", "status": 0}
    watcher.note({**row, "url": "http://127.0.0.1:8089/"})
    watcher.note({**row, "url": "http://127.0.0.1:8090/"})
    assert watcher.failure == ": refused at http://127.0.0.1:8089/"
