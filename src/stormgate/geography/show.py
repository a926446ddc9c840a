"""A mix as a person wants to see it: the map, the day, and what each group and each large origin gets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from stormgate.geography.mixfile import TrafficMix
from stormgate.geography.summary import GroupFacts, MixFacts, OriginFacts, facts
from stormgate.geography.worldmap import ASCII, FAR_MS, MANY, NEAR_MS, SOME, UNICODE, draw

STYLES = {
    "near": "bold green",
    "middle": "bold yellow",
    "far": "bold red",
    "region": "bold cyan",
    "edge": "blue",
    "land": "bright_black",
    "sea": "",
}
BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
WIDEST_MAP = 160
WIDE = 100  # columns from which the tables have room for the second edge and a wider day


def render(traffic: TrafficMix, *, on: date, top: int = 12) -> RenderableType:
    """The mix on a date as a rich renderable, `top` of its origins in full. Fits any width from 60 columns and any encoding."""
    known = facts(traffic, on)
    parts: list[RenderableType] = [_headline(known), "", _WorldMap(traffic), ""]
    if any(level != known.total.utc_levels[0] for level in known.total.utc_levels):
        parts += [_DayChart(known), ""]
    if len(known.groups) > 1:
        parts += [_GroupTable(known), ""]
    return Group(*parts, _OriginTable(known, top))


def _headline(known: MixFacts) -> Text:
    total = known.total
    text = Text(known.title, style="bold")
    text.append(f"\n{total.origins} populations", style="not bold")
    if total.edges:
        text.append(f", {total.edges} edges", style="not bold")
    if total.regions:
        text.append(f", {total.regions} regions", style="not bold")
    if total.rate_per_s is not None:
        text.append(f"; {total.rate_per_s:,.0f} requests/s on average", style="not bold")
    if total.edges:
        within = [f"{_percent(share)} within {limit} ms" for limit, share in total.share_within_ms.items()]
        text.append("\nround trip to the nearest edge: " + ", ".join(within), style="not bold")
    return text


class _WorldMap:
    def __init__(self, traffic: TrafficMix) -> None:
        self.mix = traffic.mix

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = ASCII if options.ascii_only else UNICODE
        for row in draw(self.mix, min(options.max_width, WIDEST_MAP), marks):
            line = Text(no_wrap=True)
            for spot in row:
                line.append(spot.char, STYLES[spot.style])
            line.rstrip()
            yield line
        many, some = f"{MANY:.0%}", f"{SOME:.1%}"
        users = Text.assemble(
            (f"{marks.many} ", "bold"), f"users, {many} or more  ", (f"{marks.some} ", "bold"), f"{some} or more  ",
            (f"{marks.few} ", "bold"), "fewer",
        )  # fmt: skip
        if self.mix.regions:
            users.append(f"   {marks.region_with_users} region (").append(marks.region, STYLES["region"])
            users.append(" no users there)")
        if self.mix.edges and self.mix.edges != self.mix.regions:
            users.append("   ").append(marks.edge, STYLES["edge"]).append(" edge")
        yield users
        if self.mix.edges:
            yield Text.assemble(
                "nearest edge: ", (f"up to {NEAR_MS:.0f} ms", STYLES["near"]), ", ",
                (f"up to {FAR_MS:.0f} ms", STYLES["middle"]), ", ", ("beyond", STYLES["far"]), " of round trip",
            )  # fmt: skip


class _DayChart:
    """The requests of each UTC hour as bars, four rows high."""

    ROWS = 4

    def __init__(self, known: MixFacts) -> None:
        self.known = known

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        levels, rate = self.known.total.utc_levels, self.known.total.rate_per_s
        step = 4 if options.max_width >= WIDE else 3 if options.max_width >= 80 else 2
        bars = "#" * len(BARS) if options.ascii_only else BARS
        highest = max(levels)
        busiest, quietest = levels.index(highest), levels.index(min(levels))
        says = f"{self.known.date}, by UTC hour: busiest {busiest:02d}:00 at {_volume(highest, rate)}"
        yield Text(f"{says}, quietest {quietest:02d}:00 at {_volume(min(levels), rate)}")
        for row in range(self.ROWS - 1, -1, -1):
            line = Text(no_wrap=True)
            for hour, level in enumerate(levels):
                filled = level / highest * self.ROWS - row
                char = bars[min(int(filled * len(bars)), len(bars) - 1)] if filled > 0 else " "
                line.append(char * (step - 1) + " ", "bold magenta" if hour == busiest else "magenta")
            line.rstrip()
            yield line
        yield Text("".join(f"{hour:02d}".ljust(step * 3) for hour in range(0, 24, 3)), style="bright_black")


class _GroupTable:
    def __init__(self, known: MixFacts) -> None:
        self.known = known

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        total = self.known.total
        table = Table(box=None, pad_edge=False, header_style="bold", show_footer=False)
        table.add_column("group", no_wrap=True)
        table.add_column("share", justify="right")
        if total.rate_per_s is not None:
            table.add_column("req/s", justify="right")
        if wide:
            table.add_column("populations", justify="right")
        if total.edges:
            table.add_column("edges", justify="right")
            table.add_column("≤10 ms" if not options.ascii_only else "<=10 ms", justify="right")
            table.add_column("90 %", justify="right")
        if wide and total.edges:
            table.add_column("farthest", no_wrap=True)
        table.add_column("day (UTC)", no_wrap=True)
        bars = ASCII_BARS if options.ascii_only else BARS
        for group in (*self.known.groups, total):
            style = "bold" if group is total else ""
            table.add_row(*self._cells(group, wide, bars), style=style)
        yield table

    def _cells(self, group: GroupFacts, wide: bool, bars: str) -> list[RenderableType]:
        cells: list[RenderableType] = [group.name, _percent(group.share)]
        if group.rate_per_s is not None:
            cells.append(f"{group.rate_per_s:,.0f}")
        if wide:
            cells.append(str(group.origins))
        if self.known.total.edges:
            cells += [str(group.edges), _percent(group.share_within_ms["10"]), _milliseconds(group.rtt_quantiles_ms["0.9"])]
        if wide and self.known.total.edges:
            cells.append(group.farthest or "")
        cells.append(Text(_sparkline(group.utc_levels, bars), style="magenta"))
        return cells


class _OriginTable:
    def __init__(self, known: MixFacts, top: int) -> None:
        self.known, self.top = known, top

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        shown = self.known.origins[: self.top]
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("population", no_wrap=True)
        table.add_column("share", justify="right")
        has_edges = bool(self.known.total.edges)
        if self.known.total.rate_per_s is not None:
            table.add_column("req/s", justify="right")
        if wide:
            table.add_column("", no_wrap=True)
        if has_edges:
            table.add_column("edge", no_wrap=True)
            table.add_column("RTT", justify="right")
            table.add_column("if lost", no_wrap=True)
            table.add_column("RTT", justify="right")
        if has_edges and wide and self.known.total.regions:
            table.add_column("region behind", no_wrap=True)
            table.add_column("onward", justify="right")
        bar = "#" if options.ascii_only else "█"
        for origin in shown:
            table.add_row(*self._cells(origin, wide, bar))
        yield table
        rest = self.known.origins[self.top :]
        if rest:
            yield Text(f"and {len(rest)} more with {_percent(sum(o.share for o in rest))} of the requests", style="bright_black")

    def _cells(self, origin: OriginFacts, wide: bool, bar: str) -> list[RenderableType]:
        cells: list[RenderableType] = [f"{origin.name} {origin.country}".rstrip(), _percent(origin.share)]
        if origin.rate_per_s is not None:
            cells.append(f"{origin.rate_per_s:,.0f}")
        if wide:
            largest = self.known.origins[0].share
            cells.append(Text(bar * max(1, round(12 * origin.share / largest)), style="green"))
        for way in origin.ways:
            cells += [way.edge, Text(_milliseconds(way.rtt_ms), style=_rtt_style(way.rtt_ms))]
        cells += [""] * (4 - 2 * len(origin.ways) if self.known.total.edges else 0)
        if wide and self.known.total.regions and origin.ways:
            first = origin.ways[0]
            cells += [first.region or "", _milliseconds(first.onward_rtt_ms)]
        return cells


def _rtt_style(rtt_ms: float) -> str:
    return STYLES["near" if rtt_ms <= NEAR_MS else "middle" if rtt_ms <= FAR_MS else "far"].removeprefix("bold ")


def _sparkline(levels: Sequence[float], bars: str) -> str:
    highest = max(levels)
    return "".join(bars[min(int(level / highest * len(bars)), len(bars) - 1)] for level in levels)


def _percent(share: float) -> str:
    # 99.96 % must not be shown as 100 %: that would claim what is not so.
    if 0.999 < share < 1 - 1e-9:
        return f"{int(share * 10_000) / 100:.2f} %"
    return f"{100 * share:.1f} %"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _volume(level: float, rate_per_s: float | None) -> str:
    return f"{level:.2f}x the mean" if rate_per_s is None else f"{level * rate_per_s:,.0f}/s ({level:.2f}x the mean)"
