"""Steps: as few as there can be (against trying every way to cut), never off by more than said."""

import math
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stormgate.reproduce.series.measured import SeriesSample, Silence, series_of
from stormgate.reproduce.series.steps import AllowedError, cut, fit_steps

VALUES = st.lists(st.floats(0, 40) | st.integers(0, 400).map(float), min_size=1, max_size=9)
ERRORS = st.builds(AllowedError, st.sampled_from([0.0, 0.05, 0.3]), st.floats(0.5, 8))


def fewest(values: list[float], allowed: AllowedError) -> int:
    """Every way to cut, with every whole number as a step's value."""

    def one_step(part: list[float]) -> bool:
        tries = range(math.ceil(max(part)) + 10)
        return any(all(abs(v - c) <= allowed.of(v) for v in part) for c in tries)

    @cache
    def from_(at: int) -> int:
        if at == len(values):
            return 0
        ends = range(at + 1, len(values) + 1)
        return min(1 + from_(end) for end in ends if one_step(values[at:end]))

    return from_(0)


def series(values, step_s=1.0, unknown=()):
    samples = [SeriesSample(n * step_s, float(v), n + 2) for n, v in enumerate(values)]
    return series_of(samples, unknown=unknown, file="x.csv", column="ms")


@settings(max_examples=300)
@given(VALUES, ERRORS)
@example([0.4], AllowedError(0, 0.5))
def test_there_is_no_way_with_fewer_steps(values, allowed):
    found = cut(values, allowed)
    assert len(found) == fewest(values, allowed)
    assert [begin for begin, *_ in found] == [0, *(end for _, end, _ in found)][:-1]
    assert found[-1][1] == len(values)


@settings(max_examples=300)
@given(VALUES, ERRORS)
def test_no_sample_is_off_by_more_than_is_allowed_and_the_worst_is_told(values, allowed):
    fit = fit_steps(series(values), allowed)
    offs = []
    for at, value in enumerate(values):
        own = [s for s in fit.steps if s.start_s <= at < s.end_s]
        assert len(own) == 1
        assert abs(value - own[0].value) <= allowed.of(value) + 1e-9
        offs.append(abs(value - own[0].value))
    assert fit.worst == max(offs)
    assert fit.samples == len(values)


def test_steps_are_as_long_as_the_samples_they_stand_for():
    fit = fit_steps(series([10, 11, 50, 50, 200], step_s=5), AllowedError(0, 2))
    assert [(s.start_s, s.end_s, s.value) for s in fit.steps] == [
        (0, 10, 10),
        (10, 20, 50),
        (20, 25, 200),
    ]
    assert "5 samples in 3 steps, none off by more than 1 ms" in fit.told("ms")


def test_a_step_spans_no_silence_unless_told_to():
    samples = [SeriesSample(t, 50.0) for t in (0, 1, 2, 9, 10)]
    found = series_of(samples, file="x", column="y")
    assert found.silences == (Silence(2, 9, 0),)
    fit = fit_steps(found, AllowedError())
    assert [(s.start_s, s.end_s) for s in fit.steps] == [(0, 3), (9, 11)]
    held = fit_steps(found, AllowedError(), hold_silences=True)
    assert [(s.start_s, s.end_s) for s in held.steps] == [(0, 11)]


def test_a_value_that_is_none_is_a_silence_where_it_stands():
    found = series_of(
        [SeriesSample(0, 1.0), SeriesSample(1, 1.0), SeriesSample(3, 1.0)],
        unknown=[Silence(2, 2, line=7)],
        file="x",
        column="y",
    )
    assert (found.step_s, found.silences) == (1, (Silence(1, 3, 7),))
    assert found.known() == [(0, 2), (3, 4)]


@pytest.mark.parametrize(
    ("begin", "end", "times"),
    [(0, 10, [0, 1, 2]), (1, 2, [1]), (0.5, 2, [0.5, 1]), (2.5, 9, [2.5]), (3, 9, None)],
)
def test_a_part_begins_with_what_stood_there_already(begin, end, times):
    part = series([5, 6, 7]).between(begin, end)
    assert (part and [one.at_s for one in part.samples]) == times
