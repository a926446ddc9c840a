"""The open-loop plan: decided by the seed alone, however it is cut, whatever else runs."""

import numpy as np
import pytest

from stormgate.load.schedule.arrivals import Arrivals, uniforms
from stormgate.load.schedule.shares import Dealer, stream_key

S = 1_000_000_000


class Named:
    def __init__(self, name):
        self.name = name


def plan(rates, cuts, *, poisson=True, begin=0):
    arrivals = Arrivals()
    streams = [Named(number) for number in range(len(rates))]
    for stream, rate in zip(streams, rates, strict=True):
        arrivals.add(stream, stream_key(7, "R", stream.name), rate, poisson=poisson, begin_ns=begin)
    out = []
    for cut in cuts:
        times, owners = arrivals.until(cut)
        out += [
            (at, arrivals.streams[slot].name)
            for at, slot in zip(times.tolist(), owners.tolist(), strict=True)
        ]
    return out


def test_windows_do_not_change_the_plan():
    whole = plan([50, 3, 200], [10 * S])
    cut = plan([50, 3, 200], [S // 7 * n for n in range(1, 70)] + [10 * S])
    assert whole == sorted(whole)
    assert cut == whole


def test_streams_do_not_change_each_other():
    alone = plan([20], [5 * S])
    together = [row for row in plan([20, 90], [5 * S]) if row[1] == 0]
    assert together == alone


def test_poisson_has_the_rate_and_exponential_gaps():
    times = np.array([at for at, _ in plan([1000], [60 * S])])
    assert len(times) == pytest.approx(60_000, rel=0.02)
    gaps_ms = np.diff(times) / 1e6
    assert gaps_ms.mean() == pytest.approx(1.0, rel=0.02)
    assert gaps_ms.std() == pytest.approx(1.0, rel=0.03)
    assert np.corrcoef(gaps_ms[:-1], gaps_ms[1:])[0, 1] == pytest.approx(0, abs=0.02)


def test_constant_streams_keep_their_pace_and_do_not_fire_together():
    rows = plan([10] * 40, [10 * S], poisson=False)
    first = [at for at, name in rows if name == 3]
    assert set(np.diff(first)) == {S // 10}
    phases = {at for at, _ in rows if at < S // 10}
    assert len(phases) == 40


def surge(poisson, *, factor=4.0, rates=(0.1, 5.0, 40.0), at=20 * S, end=60 * S):
    """The arrivals of a plan that is scaled by `factor` from `at` on; the streams keep their
    names.
    """
    arrivals = Arrivals()
    streams = [Named(number) for number in range(len(rates) * 20)]
    for stream in streams:
        arrivals.add(
            stream,
            stream_key(7, "R", stream.name),
            rates[stream.name % len(rates)],
            poisson=poisson,
            begin_ns=0,
        )
    before = arrivals.until(at)[0]
    arrivals.rescale(lambda _stream: factor)
    times, owners = arrivals.until(end)
    return before, times, [arrivals.streams[slot].name for slot in owners], arrivals


@pytest.mark.parametrize("poisson", [True, False])
def test_a_surge_multiplies_what_comes_and_makes_nothing_late(poisson):
    before, times, _, arrivals = surge(poisson)
    assert times[0] >= 20 * S > before[-1]
    assert len(times) / 40 == pytest.approx(4 * len(before) / 20, rel=0.05)
    assert arrivals.rate_per_s == pytest.approx(4 * 20 * 45.1)
    # No bunch at its begin: each tenth of a second has its share.
    counts = np.histogram(times, bins=np.arange(20 * S, 60 * S + 1, S // 10))[0]
    expected = arrivals.rate_per_s / 10
    assert counts[0] == pytest.approx(expected, abs=6 * expected**0.5)
    assert counts.max() < expected + 6 * expected**0.5


def test_a_surge_of_one_and_one_that_ended_leave_the_pace_alone():
    _, times, names, _ = surge(False, factor=1.0)
    plain = [
        row for row in plan([0.1, 5, 40] * 20, [20 * S, 60 * S], poisson=False) if row[0] >= 20 * S
    ]
    assert list(zip(times.tolist(), names, strict=True)) == plain
    _, _, _, arrivals = surge(False, end=30 * S)
    arrivals.rescale(lambda _stream: 1.0)
    times, owners = arrivals.until(50 * S)
    of_one = times[[arrivals.streams[slot].name == 2 for slot in owners]]
    assert set(np.diff(of_one)) == {S // 40}
    assert arrivals.rate_per_s == pytest.approx(20 * 45.1)


def test_a_stream_may_join_and_leave_inside_a_window():
    arrivals = Arrivals()
    a, b, c = Named("a"), Named("b"), Named("c")
    for stream in (a, b, c):
        arrivals.add(stream, stream_key(1, "R", ord(stream.name)), 100, poisson=True, begin_ns=0)
    arrivals.until(S)
    arrivals.remove(a)  # the last stream takes its slot
    arrivals.remove(a)
    times, owners = arrivals.until(2 * S)
    assert {arrivals.streams[slot].name for slot in owners} == {"b", "c"}
    reference = [at for at, name in _named_plan("c", 100, [S, 2 * S]) if at >= S]
    assert [
        at for at, slot in zip(times, owners, strict=True) if arrivals.streams[slot] is c
    ] == reference


def _named_plan(name, rate, cuts):
    arrivals = Arrivals()
    arrivals.add(Named(name), stream_key(1, "R", ord(name)), rate, poisson=True, begin_ns=0)
    return [(at, name) for cut in cuts for at in arrivals.until(cut)[0].tolist()]


def test_one_fast_stream_among_many_slow_ones():
    rows = plan([10_000] + [0.5] * 300, [2 * S])
    counts = np.bincount([name for _, name in rows], minlength=301)
    assert counts[0] == pytest.approx(20_000, rel=0.05)
    assert counts[1:].sum() == pytest.approx(300, rel=0.25)


def test_a_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match="rate_per_s must be above zero"):
        Arrivals().add(Named("a"), 1, 0, poisson=True, begin_ns=0)


def test_uniforms_are_in_range_and_differ_by_key_and_counter():
    keys = np.arange(1000, dtype=np.uint64)[:, None]
    drawn = uniforms(keys, np.arange(100, dtype=np.uint64)[None, :])
    assert drawn.min() > 0
    assert drawn.max() <= 1
    assert len(np.unique(drawn)) == drawn.size
    assert drawn.mean() == pytest.approx(0.5, abs=0.005)


SHARES = {
    "new-york": 0.30,
    "london": 0.25,
    "frankfurt": 0.20,
    "san-francisco": 0.16,
    "sao-paulo": 0.05,
    "singapore": 0.04,
}


def test_every_prefix_of_the_deal_is_within_one_stream_of_the_shares():
    dealer = Dealer(SHARES)
    counts = dict.fromkeys(SHARES, 0)
    for number in range(1, 401):
        counts[dealer.take()[1]] += 1
        assert all(abs(counts[name] - share * number) < 1 for name, share in SHARES.items())
    assert counts["singapore"] == 16


def test_workers_divide_one_deal():
    one = Dealer(SHARES)
    parts = [Dealer(SHARES, index=index, count=3) for index in range(3)]
    whole = sorted(one.take() for _ in range(300))
    assert sorted(part.take() for part in parts for _ in range(100)) == whole


def test_a_position_given_back_is_dealt_again():
    dealer = Dealer(SHARES)
    taken = [dealer.take() for _ in range(10)]
    dealer.give_back(taken[7][0])
    dealer.give_back(taken[2][0])
    assert [dealer.take(), dealer.take()] == [taken[2], taken[7]]


def test_no_share_at_all_is_refused():
    with pytest.raises(ValueError, match="share above zero"):
        Dealer({"a": 0.0})
