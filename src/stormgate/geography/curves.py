"""How a rate changes over time: a working day, an evening, a flash crowd, a launch.

Everything here is a pure function of seconds since the start, so that a table can test it and a
load shape can ask it each tick. Days are parameters: what peaks when belongs to the system on
trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import ceil, exp, exp2, fsum, isfinite
from typing import Protocol
from zoneinfo import ZoneInfo

# Requests per second as a function of seconds since the start.
Rate = Callable[[float], float]

HOURS_PER_DAY = 24.0
HOURS_PER_WEEK = 168.0
EVERY_DAY = frozenset(range(7))
WEEKDAYS = frozenset(range(5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A hump of use around an hour of local time, on some days (Monday is 0).

    `height` is in units of the curve's base level. The hump falls to 61 % (one standard deviation
    of a bell curve) `rise_h` hours before its top and `fall_h` hours after it.
    """

    at_h: float
    height: float
    rise_h: float = 1.0
    fall_h: float = 2.0
    days: frozenset[int] = EVERY_DAY

    def __post_init__(self) -> None:
        if not 0 <= self.at_h < HOURS_PER_DAY:
            raise ValueError(f"a peak's hour must be in 0..24, not {self.at_h}")
        if not (self.rise_h > 0 and self.fall_h > 0):
            raise ValueError(
                f"a peak's rise and fall must be over 0 hours, not {self.rise_h} and {self.fall_h}"
            )
        if not self.height >= 0:
            raise ValueError(f"a peak's height must not be negative, not {self.height}")
        if not self.days or not self.days <= EVERY_DAY:
            raise ValueError(
                f"a peak's days must be some of 0 (Monday) to 6, not {sorted(self.days)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCurve:
    """One kind of use over the local week: a base level with peaks on it."""

    peaks: tuple[Peak, ...]
    base: float = 1.0

    def __post_init__(self) -> None:
        if not self.base >= 0 or (self.base == 0 and not any(p.height for p in self.peaks)):
            raise ValueError(
                f"a day needs a base of 0 or more and some use at some time, not base {self.base}"
            )

    def level(self, hour_of_week: float) -> float:
        """Use at a local hour of the week (0 is Monday 0:00), in multiples of the week's mean."""
        return _raw_level(self, hour_of_week % HOURS_PER_WEEK) / _mean_level(self)


def _raw_level(curve: DayCurve, hour_of_week: float) -> float:
    total = curve.base
    for peak in curve.peaks:
        for day in peak.days:
            # The nearest repetition of this peak: the week is a circle, so Sunday's evening runs on
            # into Monday.
            away_h = (
                hour_of_week - day * HOURS_PER_DAY - peak.at_h + HOURS_PER_WEEK / 2
            ) % HOURS_PER_WEEK - HOURS_PER_WEEK / 2
            width_h = peak.rise_h if away_h < 0 else peak.fall_h
            total += peak.height * exp(-0.5 * (away_h / width_h) ** 2)
    return total


@lru_cache(maxsize=256)
def _mean_level(curve: DayCurve) -> float:
    # Midpoints of quarter hours: humps an hour wide or more are integrated to better than one part
    # in a million.
    quarters = int(HOURS_PER_WEEK * 4)
    return fsum(_raw_level(curve, (i + 0.5) / 4) for i in range(quarters)) / quarters


@dataclass(frozen=True, slots=True)
class Day:
    """What people do with a system in a week: kinds of use by name, each a share of the mean and a
    curve.
    """

    uses: Mapping[str, tuple[float, DayCurve]]

    def __post_init__(self) -> None:
        total = fsum(share for share, _ in self.uses.values())
        if abs(total - 1.0) > 1e-9 or any(share <= 0 for share, _ in self.uses.values()):
            raise ValueError(
                f"the shares of a day's uses must be over 0 and sum to 1, not {total:.9g}"
            )

    def level(self, hour_of_week: float) -> float:
        """All use at a local hour of the week, in multiples of the week's mean."""
        return fsum(share * curve.level(hour_of_week) for share, curve in self.uses.values())

    def shares(self, hour_of_week: float) -> dict[str, float]:
        """What part each kind of use has in the traffic of a local hour; sums to 1 (equal parts
        where there is no use at all).
        """
        parts = {
            name: share * curve.level(hour_of_week) for name, (share, curve) in self.uses.items()
        }
        total = fsum(parts.values())
        return {name: part / total if total else 1 / len(parts) for name, part in parts.items()}


FLAT = Day({"all": (1.0, DayCurve(peaks=()))})


def hour_of_week(at: datetime, time_zone: str) -> float:
    """The local hour of the week, 0 at Monday 0:00, at an aware time. Raises ValueError for a time
    without a zone.
    """
    if at.tzinfo is None:
        raise ValueError(
            "the time must say its zone, since an hour of the day means nothing without one"
        )
    local = at.astimezone(ZoneInfo(time_zone))
    return (
        local.weekday() * HOURS_PER_DAY
        + local.hour
        + local.minute / 60
        + (local.second + local.microsecond / 1e6) / 3600
    )


def day_rate(
    day: Day, mean_rate_per_s: float, *, start_hour_of_week: float, speed: float = 1.0
) -> Rate:
    """The rate of one place over its local week, whose mean is `mean_rate_per_s`.

    `speed` is local seconds per second of the run: 144 puts a day into ten minutes. Clock changes
    during the run are not made.
    """
    _positive(speed=speed)
    return lambda t_s: mean_rate_per_s * day.level(start_hour_of_week + t_s * speed / 3600)


class Placed(Protocol):
    """What has a name, a share of the traffic and an IANA time zone: an origin of a mix."""

    @property
    def name(self) -> str: ...
    @property
    def share(self) -> float: ...
    @property
    def time_zone(self) -> str: ...


def local_rates(
    origins: Iterable[Placed],
    day: Day,
    mean_rate_per_s: float,
    *,
    start: datetime,
    speed: float = 1.0,
) -> dict[str, Rate]:
    """The rate of each origin by its own clock, from an aware start time. Over a week they average
    `mean_rate_per_s` together.

    `world_rate` is the rate of them all: morning reaches one after the other.
    """
    return {
        o.name: day_rate(
            day,
            mean_rate_per_s * o.share,
            start_hour_of_week=hour_of_week(start, o.time_zone),
            speed=speed,
        )
        for o in origins
    }


def world_rate(
    origins: Iterable[Placed],
    day: Day,
    mean_rate_per_s: float,
    *,
    start: datetime,
    speed: float = 1.0,
) -> Rate:
    """The rate of all origins together, each by its own clock: `local_rates` added, but cheap
    enough to ask every tick.
    """
    share_at: dict[float, float] = {}
    for origin in origins:
        # Origins whose clocks agree have one curve between them, and there are only some forty
        # clocks in the world.
        clock = hour_of_week(start, origin.time_zone)
        share_at[clock] = share_at.get(clock, 0.0) + origin.share
    return added(
        *(
            day_rate(day, mean_rate_per_s * share, start_hour_of_week=clock, speed=speed)
            for clock, share in sorted(share_at.items())
        )
    )


def constant(rate_per_s: float) -> Rate:
    """The same rate for ever."""
    _not_negative(rate_per_s=rate_per_s)
    return lambda t_s: rate_per_s


def flash_crowd(
    base_per_s: float,
    peak_per_s: float,
    *,
    at_s: float,
    rise_s: float,
    hold_s: float,
    half_life_s: float,
) -> Rate:
    """A crowd that comes at once: base, a straight rise from `at_s`, the peak held, then a decay
    back to the base.

    What is above the base halves every `half_life_s` (a link is forgotten in proportion to those
    still reading it).
    """
    _not_negative(base_per_s=base_per_s, at_s=at_s, hold_s=hold_s)
    _positive(rise_s=rise_s, half_life_s=half_life_s)
    if peak_per_s < base_per_s:
        raise ValueError(f"the peak ({peak_per_s}/s) must not be below the base ({base_per_s}/s)")
    top_s, end_s = at_s + rise_s, at_s + rise_s + hold_s

    def rate(t_s: float) -> float:
        if t_s <= at_s:
            return base_per_s
        above = peak_per_s - base_per_s
        if t_s < top_s:
            return base_per_s + above * (t_s - at_s) / rise_s
        return base_per_s + above * exp2(-max(0.0, t_s - end_s) / half_life_s)

    return rate


def steps(rates_per_s: Sequence[float], *, step_s: float) -> Rate:
    """Each rate for `step_s` seconds in turn, the last one for ever: the staircase that finds where
    a system bends.
    """
    if not rates_per_s:
        raise ValueError("a staircase needs at least one rate")
    _positive(step_s=step_s)
    for value in rates_per_s:
        _not_negative(rate_per_s=value)
    return lambda t_s: rates_per_s[min(max(int(t_s // step_s), 0), len(rates_per_s) - 1)]


def added(*rates: Rate) -> Rate:
    """The sum of several rates: a flash crowd on top of a day, the days of all time zones
    together.
    """
    return lambda t_s: fsum(rate(t_s) for rate in rates)


def planned_requests(rate: Rate, duration_s: float, *, step_s: float = 1.0) -> float:
    """How many requests a rate asks for in `duration_s` (midpoint rule with steps of at most
    `step_s`).
    """
    _positive(duration_s=duration_s, step_s=step_s)
    count = ceil(duration_s / step_s)
    width_s = duration_s / count
    return fsum(rate((i + 0.5) * width_s) for i in range(count)) * width_s


def streams(rate_per_s: float, rate_per_stream_per_s: float) -> int:
    """How many streams (Locust users) of a fixed rate come nearest to a rate without falling short
    of it.
    """
    _positive(rate_per_stream_per_s=rate_per_stream_per_s)
    # A quotient a rounding error above a whole number must not cost a whole stream more.
    return ceil(rate_per_s / rate_per_stream_per_s - 1e-9)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (isfinite(value) and value > 0):
            raise ValueError(f"{name} must be over 0, not {value}")


def _not_negative(**values: float) -> None:
    for name, value in values.items():
        if not (isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be 0 or more, not {value}")
