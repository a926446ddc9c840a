"""A mix as a person wants to see it: the map, the day, and what each group and each large origin
gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from stormgate.documents.mix import TrafficMix
from stormgate.geography.summary import EdgeWay, MixFacts, OriginFacts, facts
from stormgate.geography.worldmap import ASCII, FAR_MS, MANY, NEAR_MS, SOME, UNICODE, Marks, draw

STYLES = {
    "near": "bright_green",
    "middle": "bright_yellow",
    "far": "bright_red",
    "region": "bright_cyan",
    "edge": "bright_blue",
    "label": "italic cyan",
    "land": "bright_black",
    "sea": "",
}
BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
WIDEST_MAP = 160


def render(traffic: TrafficMix, *, on: date, top: int = 12) -> RenderableType:
    """The mix on a date as a rich renderable, `top` of its origins in full. Fits any width from 60
    columns and any encoding.
    """
    known = facts(traffic, on)
    parts: list[RenderableType] = [_headline(known), "", _WorldMap(traffic, known), ""]
    if _varies(known):
        parts += [_DayChart(known), ""]
    if len(known.groups) > 1:
        parts += [_GroupTable(known), ""]
    return Group(*parts, _OriginTable(known, top))


def _varies(known: MixFacts) -> bool:
    levels = known.total.utc_levels
    return max(levels) - min(levels) > 1e-9


def _headline(known: MixFacts) -> Text:
    total = known.total
    text = Text(known.title + (f", {known.date}" if _varies(known) else ""), style="bold")
    counts = ((total.origins, "population"), (total.edges, "edge"), (total.regions, "region"))
    counted = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count]
    text.append("\n" + ", ".join(counted), style="not bold")
    if total.rate_per_s is not None:
        text.append(f"; {total.rate_per_s:,.0f} requests/s on average", style="not bold")
    if total.edges:
        within = [
            f"{_percent(share)} within {limit} ms" for limit, share in total.share_within_ms.items()
        ]
        needed = sum(share < 1 - 1e-9 for share in total.share_within_ms.values()) + 1
        text.append("\nnearest edge: " + ", ".join(within[:needed]), style="not bold")
    return text


class _WorldMap:
    def __init__(self, traffic: TrafficMix, known: MixFacts) -> None:
        self.mix = traffic.mix
        self.rtt_ms = {
            origin.name: origin.ways[0].rtt_ms for origin in known.origins if origin.ways
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = ASCII if options.ascii_only else UNICODE
        for row in draw(self.mix, min(options.max_width, WIDEST_MAP), self.rtt_ms, marks):
            line = Text(no_wrap=True)
            for spot in row:
                line.append(spot.char, STYLES[spot.style])
            line.rstrip()
            yield line
        yield from self._legend(
            marks, coloured=console.color_system is not None and not console.no_color
        )

    def _legend(self, marks: Marks, coloured: bool) -> RenderResult:
        text = Text.assemble(
            ("users: ", "bold"), f"{marks.many} {MANY:.0%} or more  {marks.some} {SOME:.1%} or "
                                 f"more  {marks.few} fewer",
        )  # fmt: skip
        if self.mix.regions:
            text.append(f"  {marks.region_with_users} beside a region")
        yield text
        unused = [(marks.region, " region", STYLES["region"])] if self.mix.regions else []
        if self.mix.edges and self.mix.edges != self.mix.regions:
            unused.append((marks.edge, " edge", STYLES["edge"]))
        line = Text()
        for mark, name, style in unused:
            line.append(mark, style).append(name).append(
                "  " if (mark, name, style) != unused[-1] else ""
            )
        if unused:
            line.append(" without users")
        if self.mix.edges and coloured:
            line.append("   nearest edge: ", "bold").append(
                f"in {NEAR_MS:.0f} ms", STYLES["near"]
            ).append(", ")
            line.append(f"in {FAR_MS:.0f} ms", STYLES["middle"]).append(", ").append(
                "farther", STYLES["far"]
            )
        if line:
            yield line


class _DayChart:
    """The requests of each UTC hour as bars, four rows high."""

    ROWS = 4

    def __init__(self, known: MixFacts) -> None:
        self.known = known

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        levels, rate = self.known.total.utc_levels, self.known.total.rate_per_s
        step = 4 if options.max_width >= 96 else 3 if options.max_width >= 72 else 2
        bars = "#" * len(BARS) if options.ascii_only else BARS
        highest = max(levels)
        busiest, quietest = levels.index(highest), levels.index(min(levels))
        high = f"{_volume(highest, rate)}{highest:.2f}x the mean"
        low = f"{_volume(min(levels), rate)}{min(levels):.2f}x"
        yield Text(f"busiest {busiest:02d}:00 UTC: {high}; quietest {quietest:02d}:00: {low}")
        for row in range(self.ROWS - 1, -1, -1):
            line = Text(no_wrap=True)
            for hour, level in enumerate(levels):
                filled = level / highest * self.ROWS - row
                char = bars[min(int(filled * len(bars)), len(bars) - 1)] if filled > 0 else " "
                line.append(
                    char * (step - 1) + " ", "bold magenta" if hour == busiest else "magenta"
                )
            line.rstrip()
            yield line
        hours = "".join(f"{hour:02d}".ljust(step * 3) for hour in range(0, 24, 3)).rstrip()
        yield Text(f"{hours}  UTC", style="bright_black", no_wrap=True)


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cells: Sequence[str | Text]
    align: Literal["left", "right"] = "right"
    # Where not all columns fit, those of the highest rank go first; rank 0 stays.
    rank: int = 0

    @property
    def width(self) -> int:
        return max(cell_len(str(cell)) for cell in (self.title, *self.cells))


def _table(columns: list[_Column], width: int, *, bold_last: bool = False) -> Table:
    def needed(padding: int) -> int:
        return sum(column.width + padding for column in columns) - padding

    while needed(1) > width and any(column.rank for column in columns):
        first_to_go = max(column.rank for column in columns)
        columns = [column for column in columns if column.rank < first_to_go]
    padding = 2 if needed(2) <= width else 1
    table = Table(box=None, pad_edge=False, padding=(0, padding, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.title, justify=column.align, no_wrap=True)
    rows = list(zip(*(column.cells for column in columns), strict=True))
    for number, row in enumerate(rows, 1):
        table.add_row(*row, style="bold" if bold_last and number == len(rows) else "")
    return table


class _GroupTable:
    def __init__(self, known: MixFacts) -> None:
        self.known = known

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        total, rows = self.known.total, [*self.known.groups, self.known.total]
        bars = ASCII_BARS if options.ascii_only else BARS
        columns = [
            _Column("group", [group.name for group in rows], "left"),
            _Column("share", [_percent(group.share) for group in rows]),
        ]
        if total.rate_per_s is not None:
            columns.append(_Column("req/s", [f"{group.rate_per_s:,.0f}" for group in rows]))
        columns.append(_Column("populations", [str(group.origins) for group in rows], rank=3))
        if total.edges:
            columns += [
                _Column("edges", [str(group.edges) for group in rows], rank=2),
                _Column("in 10 ms", [_percent(group.share_within_ms["10"]) for group in rows]),
                _Column(
                    "90 % in", [_milliseconds(group.rtt_quantiles_ms["0.9"]) for group in rows]
                ),
                _Column("farthest", [group.farthest or "" for group in rows], "left", rank=4),
            ]
        if _varies(self.known):
            days = [Text(_sparkline(group.utc_levels, bars), style="magenta") for group in rows]
            columns.append(_Column("day (UTC)", days, "left", rank=1))
        yield _table(columns, options.max_width, bold_last=True)


class _OriginTable:
    def __init__(self, known: MixFacts, top: int) -> None:
        self.known, self.top = known, top

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows, rest = self.known.origins[: self.top], self.known.origins[self.top :]
        if rows:
            yield _table(
                list(self._columns(rows, "#" if options.ascii_only else "█")), options.max_width
            )
        if rest:
            and_more = "and " if rows else ""
            text = (
                f"{and_more}{len(rest)} more with {_percent(sum(o.share for o in rest))} of "
                "the requests"
            )
            yield Text(text, style="bright_black")
        if any(origin.ways for origin in self.known.origins):
            yield _sources(self.known)

    def _columns(self, rows: Sequence[OriginFacts], bar: str) -> Iterator[_Column]:
        yield _Column(
            "population", [f"{origin.name} {origin.country}".rstrip() for origin in rows], "left"
        )
        yield _Column("share", [_percent(origin.share) for origin in rows])
        if self.known.total.rate_per_s is not None:
            yield _Column("req/s", [f"{origin.rate_per_s:,.0f}" for origin in rows])
        most = self.known.origins[0].share
        bars = [
            Text(bar * max(1, round(12 * origin.share / most)), style="green") for origin in rows
        ]
        yield _Column("", bars, "left", rank=3)
        for place, (title, rank) in enumerate((("edge", 0), ("if lost", 1))):
            ways = [origin.ways[place] if len(origin.ways) > place else None for origin in rows]
            if any(ways):
                yield _Column(title, [way.edge if way else "" for way in ways], "left", rank)
                yield _Column("RTT", [_rtt(way) if way else Text() for way in ways], rank=rank)
        first = [origin.ways[0] for origin in rows if origin.ways]
        if any(way.region not in (None, way.edge) for way in first):
            yield _Column("region behind", [way.region or "" for way in first], "left", rank=2)
            onward = [
                _milliseconds(way.onward_rtt_ms) + _FROM.get(way.onward_source or "", "")
                for way in first
            ]
            yield _Column("onward", onward, rank=2)
        if any(origin.last_mile_ms for origin in rows):
            miles = [_milliseconds(origin.last_mile_ms) for origin in rows]
            yield _Column("last mile", miles, rank=1)


# Whose figure a round trip is, as one letter after it.
_FROM = {"target": " t", "measured": " m", "detour": " d", "model": "  "}


def _sources(known: MixFacts) -> Text:
    """What the letters mean, and how many round trips are whose."""
    ways = [way for origin in known.origins for way in origin.ways]
    sources = [way.rtt_source for way in ways]
    sources += [way.onward_source for way in ways if way.onward_source is not None]
    told = {
        "target": "t: the target says so",
        "measured": "m: measured between the cloud regions there",
        "detour": "d: the model and the detour of the nearest measured way",
        "model": "no letter: the model alone, a floor",
    }
    parts = [f"{told[name]} ({sources.count(name)})" for name in told if name in sources]
    return Text("round trips: " + "; ".join(parts), style="bright_black")


def _rtt(way: EdgeWay) -> Text:
    near, far = way.rtt_ms <= NEAR_MS, way.rtt_ms > FAR_MS
    style = STYLES["near" if near else "far" if far else "middle"]
    told = _milliseconds(way.rtt_ms) + _FROM[way.rtt_source]
    return Text(told, style=style.removeprefix("bright_"))


def _sparkline(levels: Sequence[float], bars: str) -> str:
    highest = max(levels)
    return "".join(bars[min(int(level / highest * len(bars)), len(bars) - 1)] for level in levels)


def _percent(share: float) -> str:
    # 99.96 % must not be shown as 100 %: that would claim what is not so.
    if 0.999 < share < 1 - 1e-9:
        return f"{int(share * 10_000) / 100:.2f} %"
    return "100 %" if share >= 1 - 1e-9 else f"{100 * share:.1f} %"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _volume(level: float, rate_per_s: float | None) -> str:
    return "" if rate_per_s is None else f"{level * rate_per_s:,.0f}/s, "
