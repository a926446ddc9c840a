"""Figures over a window of live samples: nothing measured is None, failures are infinitely slow,
gaps count from the fault.
"""

import math

import numpy as np
import pyarrow as pa
import pytest

from stormgate.evidence.rolling import RollingWindow, failover_from

S, MS = 10**9, 10**6
NOW = 1000 * S


def batch(rows):
    """Rows of (done_ns, latency_ms, outcome, shard)."""
    words = lambda values: pa.array(values).dictionary_encode()  # noqa: E731
    return pa.record_batch(
        {
            "intended_ns": pa.array(
                [done - int(latency * MS) for done, latency, _, _ in rows], pa.int64()
            ),
            "done_ns": pa.array([done for done, *_ in rows], pa.int64()),
            "outcome": words([outcome for *_, outcome, _ in rows]),
            "shard": words([shard for *_, shard in rows]),
        }
    )


@pytest.fixture
def window(tmp_path):
    made = RollingWindow(tmp_path)
    made.add(
        batch(
            [
                (NOW - 20 * S, 5, "refused", "eu"),
                (NOW - 2 * S, 10, "ok", "eu"),
                (NOW - 1 * S, 30, "ok", "us"),
            ]
        )
    )
    # A block of its own dictionaries, in another order, and a null label.
    made.add(batch([(NOW - 1 * S, 90, "ok", "us"), (NOW - S // 2, 1, "reset", None)]))
    return made


def test_good_share(window):
    assert window.good_share(NOW, 10, {}, None) == 3 / 4
    assert window.good_share(NOW, 30, {}, None) == 3 / 5
    assert window.good_share(NOW, 10, {}, within_ms=50) == 2 / 4
    assert window.good_share(NOW, 10, {"shard": "us"}, None) == 1
    assert window.good_share(NOW, 30, {"shard": "eu"}, None) == 1 / 2


@pytest.mark.parametrize("where", [{"shard": "asia"}, {"tier": "edge"}])
def test_nothing_measured_is_none_not_good(window, where):
    assert window.good_share(NOW, 10, where, None) is None
    assert window.latency_percentile_ms(NOW, 10, where, 95) is None
    assert window.failover_s(NOW - 30 * S, NOW, where, 1, 0.99) is None
    assert window.label_share(NOW, 10, where, ("shard", "eu")) is None
    assert window.good_share(NOW + 60 * S, 10, {}, None) is None


def test_percentiles_count_failures_as_infinite(window):
    assert window.latency_percentile_ms(NOW, 10, {}, 50) == pytest.approx(30)
    assert window.latency_percentile_ms(NOW, 10, {}, 75) == pytest.approx(90)
    assert window.latency_percentile_ms(NOW, 10, {}, 76) == math.inf


def test_label_share(window):
    assert window.label_share(NOW, 10, {}, ("shard", "us")) == 2 / 4
    assert window.label_share(NOW, 10, {"outcome": "ok"}, ("shard", "us")) == 2 / 3


def stream(bad_from_ms, bad_to_ms, until_ms, step_ms=10):
    at = np.arange(0, until_ms, step_ms)
    return at * MS, ~((at >= bad_from_ms) & (at < bad_to_ms))


@pytest.mark.parametrize(
    ("bad", "until_ms", "expected"),
    [
        ((0, 0), 5000, 0.0),
        ((200, 1700), 5000, 1.7),  # the 0.2 s before it broke are not sustained
        ((0, 1500), 5000, 1.5),
        ((0, 5000), 5000, 6.0),  # not good yet: the seconds so far
        ((0, 4500), 5000, 6.0),  # good, but for half a second only
    ],
)
def test_failover(bad, until_ms, expected):
    intended, ok = stream(*bad, until_ms)
    found = failover_from(intended, ok, 0, 6 * S, sustained_s=1, good=0.99)
    assert found == pytest.approx(expected)


def test_failover_counts_from_the_fault_and_a_silent_step_breaks_no_stretch():
    intended = np.array([0, 1000, 2500, 3600]) * MS
    ok = np.array([False, False, True, True])
    assert failover_from(intended, ok, 500 * MS, 4 * S, 1, 0.99) == pytest.approx(0.6)


def test_counts_leave_out_what_was_never_sent(window):
    assert window.counts(NOW, 10, {}, None) == (3, 4)
    assert window.counts(NOW, 10, {"shard": "us"}, 50) == (1, 2)
    assert window.counts(NOW, 10, {"shard": "asia"}, None) == (0, 0)
    window.add(batch([(NOW, 1, "not_sent", "us"), (NOW, 1, "reset", "us")]))
    assert window.counts(NOW, 10, {"shard": "us"}, None) == (2, 3)
    assert window.newest_ns == NOW


def test_newest_of_nothing(tmp_path):
    assert RollingWindow(tmp_path).newest_ns is None
