"""The map and the tables: right places, any width, any terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import date

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console

from stormgate.commands.geography import command
from stormgate.documents.mix import TrafficMix
from stormgate.documents.worlds import world
from stormgate.geography.curves import Day, DayCurve, Peak
from stormgate.geography.distance import Position
from stormgate.geography.mix import EdgeSite, Mix, Origin
from stormgate.geography.places import city
from stormgate.geography.show import render
from stormgate.geography.summary import facts
from stormgate.geography.worldmap import (
    ASCII,
    UNICODE,
    cell_of,
    draw,
    is_land,
    land_cells,
    map_rows,
)

WEDNESDAY = date(2026, 11, 25)


def small_world() -> TrafficMix:
    def origin(name: str, place: str, share: float, group: str) -> Origin:
        at = city(place)
        return Origin(
            name=name,
            share=share,
            latitude=at.latitude,
            longitude=at.longitude,
            country=at.country,
            time_zone=at.time_zone,
            group=group,
        )

    def edge(name: str, place: str, group: str) -> EdgeSite:
        at = city(place)
        return EdgeSite(
            name=name, latitude=at.latitude, longitude=at.longitude, group=group, region="eu-west"
        )

    origins = (
        origin("london", "London", 0.6, "europe"),
        origin("nairobi", "Nairobi", 0.4, "africa"),
    )
    edges = (edge("lhr", "London", "europe"), edge("bos", "Boston", "america"))
    evening = Day({"all": (1.0, DayCurve(base=0.2, peaks=(Peak(at_h=19, height=1),)))})
    return TrafficMix(
        Mix("small", origins, edges, (edge("eu-west", "Dublin", "europe"),)),
        86_400_000,
        evening,
        "Small",
    )


def shown(
    traffic: TrafficMix,
    width: int,
    encoding: str = "utf-8",
    color: str | None = None,
    top: int = 12,
) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    console = Console(
        file=stream,
        width=width,
        force_terminal=color is not None,
        color_system=color,
        legacy_windows=False,
    )  # type: ignore[arg-type]
    console.print(render(traffic, on=WEDNESDAY, top=top))
    stream.flush()
    stream.seek(0)
    return stream.read()


@pytest.mark.parametrize(
    ("latitude", "longitude", "land"),
    [
        (48.9, 2.3, True),
        (0, -30, False),
        (-25, 135, True),
        (40, -100, True),
        (0, 25, True),
        (-40, -140, False),
        (61, 100, True),
        (66.5, 178.0, True),  # on either side of the antimeridian
        (66.5, -172.0, True),
        (64, 0, False),
        (66.5, -30, False),
        (45, -30, False),
        (73, -40, True),
        (25, -90, False),
    ],
)
def test_land_and_sea(latitude: float, longitude: float, land: bool) -> None:
    assert is_land(latitude, longitude) is land


def test_nearly_all_cities_stand_on_land_or_its_coast() -> None:
    from stormgate.geography.places import cities

    def ashore(latitude: float, longitude: float) -> bool:
        return any(is_land(latitude + y, longitude + x) for y in (-1, 0, 1) for x in (-1, 0, 1))

    assert sum(ashore(c.latitude, c.longitude) for c in cities()) > 0.93 * len(cities())


@pytest.mark.parametrize("columns", [60, 80, 120, 160])
def test_the_map_keeps_its_compass(columns: int) -> None:
    row_of_london, column_of_london = cell_of(city("London"), columns)
    row_of_lagos, _ = cell_of(city("Lagos"), columns)
    _, column_of_tokyo = cell_of(city("Tokyo"), columns)
    _, column_of_new_york = cell_of(city("New York"), columns)
    assert row_of_london < row_of_lagos < map_rows(columns)
    assert column_of_new_york < column_of_london < column_of_tokyo < columns
    assert cell_of(Position(90, 0), columns)[0] == 0
    assert cell_of(Position(-90, 0), columns)[0] == map_rows(columns) - 1


def test_marks_and_coasts_use_one_projection() -> None:
    def land_at(latitude: float, longitude: float) -> bool:
        row, column = cell_of(Position(latitude, longitude), 120)
        return land_cells(120)[row][column][1]

    assert cell_of(Position(0, -168.9), 120)[1] == 0
    assert cell_of(Position(0, -169.1), 120)[1] == 119
    assert cell_of(Position(0, 11.1), 120)[1] == 60
    # Nine degrees decide between land and sea on either side of these coasts.
    assert [land_at(40.4, -5), land_at(40.4, -14)] == [True, False]
    assert [land_at(-10, -39), land_at(-10, -30)] == [True, False]
    assert [land_at(-25, 151), land_at(-25, 160)] == [True, False]
    assert [land_at(-30, 27), land_at(-41, 27)] == [True, False]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_marks_are_where_their_places_are(columns: int) -> None:
    mix = small_world().mix
    grid = list(draw(mix, columns, {"london": 1.0, "nairobi": 150.0}))
    assert len(grid) == map_rows(columns)
    assert all(len(row) == columns for row in grid)

    def at(place: str) -> tuple[str, str]:
        row, column = cell_of(city(place), columns)
        return grid[row][column].char, grid[row][column].style

    assert at("Nairobi") == (UNICODE.many, "far")
    assert at("Boston") == (UNICODE.edge, "edge")
    london, dublin = cell_of(city("London"), columns), cell_of(city("Dublin"), columns)
    assert at("London") == (UNICODE.region_with_users if london == dublin else UNICODE.many, "near")


def test_a_few_regions_are_named_and_no_mark_is_covered() -> None:
    mix = small_world().mix
    grid = list(draw(mix, 120, {}))
    row, column = cell_of(city("Dublin"), 120)
    text = "".join(spot.char for spot in grid[row])
    assert text[column] == UNICODE.region
    assert text[column + 1 :].startswith("eu-west") or text[:column].endswith("eu-west")
    dublin = city("Dublin").latitude
    crowd = tuple(
        replace(mix.origins[0], name=f"o{i}", latitude=dublin, longitude=-60.0 + i)
        for i in range(100)
    )
    crowded = list(draw(replace(mix, origins=crowd), 120, {}))
    row, _ = cell_of(crowd[0], 120)
    marks = [cell_of(one, 120)[1] for one in crowd]
    assert all(crowded[row][column].style == "near" for column in marks)
    assert not any(spot.style == "label" for spot in crowded[row])
    many = replace(mix, regions=tuple(replace(mix.regions[0], name=f"r{i}") for i in range(13)))
    assert not any(spot.style == "label" for spots in draw(many, 120, {}) for spot in spots)


def test_the_ascii_map_is_ascii() -> None:
    text = "".join(spot.char for row in draw(small_world().mix, 80, {}, ASCII) for spot in row)
    assert text.isascii()
    assert 300 < text.count(".") < 800


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 200])
def test_it_fits_any_width(width: int) -> None:
    plain = shown(small_world(), width)
    assert max(cell_len(line.rstrip()) for line in plain.splitlines()) <= width


@pytest.mark.parametrize(
    ("color", "coloured"), [(None, False), ("standard", True), ("truecolor", True)]
)
def test_colours_and_their_legend_only_where_there_are_some(
    color: str | None, coloured: bool
) -> None:
    text = shown(small_world(), 80, color=color)
    assert ("\x1b[" in text) is coloured
    assert ("farther" in text) is coloured


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_cut_off(width: int) -> None:
    assert "…" not in shown(small_world(), width)


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert "lhr" in shown(small_world(), 80, encoding="ascii")


def test_what_the_tables_say() -> None:
    text = shown(small_world(), 120)
    assert "2 populations, 2 edges, 1 region; 1,000 requests/s on average" in text
    assert "60.0 % within 10 ms, 60.0 % within 30 ms, 60.0 % within 50 ms" in text
    london = next(line for line in text.splitlines() if line.startswith("london"))
    assert "60.0 %" in london
    assert "600" in london
    assert "1.0 ms" in london
    assert "eu-west" in london
    assert "more with" not in text
    assert "and 1 more with 40.0 % of the requests" in shown(small_world(), 120, top=1)


def test_nearly_all_is_not_shown_as_all() -> None:
    from stormgate.geography.show import _percent

    assert [_percent(share) for share in (1.0, 0.99999, 0.9995, 0.999, 0.5, 0.0)] == [
        "100 %",
        "99.99 %",
        "99.95 %",
        "99.9 %",
        "50.0 %",
        "0.0 %",
    ]


def test_facts_of_groups_and_hours() -> None:
    known = facts(small_world(), WEDNESDAY)
    assert [group.name for group in known.groups] == ["europe", "africa"]
    europe, africa = known.groups
    assert europe.utc_levels.index(max(europe.utc_levels)) in (18, 19)
    assert africa.utc_levels.index(max(africa.utc_levels)) in (15, 16)  # three hours earlier by UTC
    assert europe.share_within_ms["10"] == pytest.approx(1.0)
    assert africa.share_within_ms["50"] == 0.0
    assert known.total.share_within_ms["10"] == pytest.approx(0.6)
    assert known.total.rtt_quantiles_ms["0.5"] == 1.0
    (first, second) = known.origins[0].ways
    assert (first.edge, second.edge) == ("lhr", "bos")
    assert first.rtt_ms < second.rtt_ms


def test_a_mix_without_edges_groups_or_day_is_shown_too() -> None:
    text = shown(
        TrafficMix(Mix("bare", (Origin(name="one", share=1.0, latitude=10, longitude=10),))), 80
    )
    assert "1 population\n" in text
    assert "edge" not in text


@pytest.mark.parametrize("provider", ["aws", "azure", "gcp"])
def test_built_in_worlds(provider: str) -> None:
    traffic = world(provider)
    assert len(traffic.mix.origins) == 120
    assert all("…" not in shown(traffic, width) for width in (80, 120))


def test_the_command_as_json_and_as_text() -> None:
    result = CliRunner().invoke(
        command, ["world", "--json", "--date", "2026-11-25", "--cloud", "gcp"]
    )
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data["name"] == "world-gcp"
    assert len(data["origins"]) == 120
    assert sum(o["share"] for o in data["origins"]) == pytest.approx(1.0)
    drawn = CliRunner().invoke(command, ["world", "--width", "80", "--top", "3"])
    assert drawn.exit_code == 0
    assert "and 117 more" in drawn.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["world", "--cloud", "moon"], "choose one of aws, azure, gcp"),
        (["nowhere.yaml"], "nowhere.yaml:1: there is no such file"),
    ],
)
def test_the_command_refuses_with_one_message(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_importing_the_command_is_light() -> None:
    import subprocess
    import sys

    code = (
        "import sys, stormgate.commands.geography; print({'rich', 'pydantic', 'numpy', 'pandas', "
        "'ruamel'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
