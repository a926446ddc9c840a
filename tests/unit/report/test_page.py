"""What stands where on the page: the deciding reason with its place and second, bars, the map."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.golden.report_cases import CASES, finding, plan, write_run

from stormgate.evidence import open_run
from stormgate.model import Cell, Release, Verdict
from stormgate.report import report_html
from stormgate.report.charts.bullet import bullet
from stormgate.report.charts.world import MapPlace, world
from stormgate.report.html.data import as_element
from stormgate.report.html.parts import slug


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "run")


def decided(page: str) -> str:
    found = re.search(r'<p class="decided">(.*?)</p>', page)
    return re.sub(r"<[^>]+>", "", found.group(1)) if found else ""


def test_the_deciding_reason_has_its_cell_and_second(run_folder: Path) -> None:
    page = report_html(CASES[Verdict.FAIL], open_run(run_folder))
    told = decided(page)
    assert told == "Decided by failover in region-loss: london / write, from 38.1 s of the run."
    assert 'href="#t=38.1"' in page
    assert 'href="#objective-failover"' in page
    assert 'id="objective-failover"' in page
    assert 'id="cells-failover"' in page


def test_a_pass_names_what_came_closest_and_a_rule_goes_before_what_it_spoils(
    run_folder: Path,
) -> None:
    run = open_run(run_folder)
    assert decided(report_html(CASES[Verdict.PASS], run)).startswith(
        "Closest to its limit: availability, 78.8"
    )
    told = decided(report_html(CASES[Verdict.INCONCLUSIVE], run))
    assert told == "Decided by the rule fault-proven."
    assert decided(report_html(CASES[Verdict.ERROR], run)) == ""


def test_a_cell_that_is_allowed_to_fail_says_so(run_folder: Path) -> None:
    page = report_html(CASES[Verdict.PASS], open_run(run_folder))
    cells = page[page.index('id="cells-read-p95"') : page.index('id="cells-failover"')]
    assert cells.count("✘ FAIL") == cells.count(">allowed<") == 2
    failed = report_html(CASES[Verdict.FAIL], open_run(run_folder))
    failover = failed[failed.index('id="cells-failover"') :]
    assert ">allowed<" not in failover


def test_the_release_and_its_attempts_stand_first(run_folder: Path) -> None:
    judged = replace(
        CASES[Verdict.PASS], release=Release(name="v<1>", commit="abcdef0123456789", told_by="CI")
    )
    page = report_html(judged, open_run(run_folder))
    assert "Release v&lt;1&gt; (abcdef012345), told by CI." in page[: page.index("Objectives")]
    assert page.count("told by CI") == 1


@pytest.mark.parametrize(
    ("figures", "label", "shaded"),
    [
        # value, bound, limit, unit, verdict; what is said; on which side of the limit is bad
        (
            (21.4, 22.3, 50, "ms", Verdict.PASS),
            "value 21.4 ms, bound 22.3 ms, limit 50 ms",
            "right",
        ),
        ((61.0, 60.0, 50, "ms", Verdict.FAIL), "value 61 ms, bound 60 ms, limit 50 ms", "right"),
        ((1.0, 0.99992, 0.9999, "share", Verdict.PASS), "missing to 100 %: value 100 %", "right"),
        ((900.0, 880.0, 500, "req/s", Verdict.PASS), "value 900 req/s", "left"),
    ],
)
def test_a_bar_says_its_figures_and_shades_what_does_not_hold(
    figures: tuple[float, float, float, str, Verdict], label: str, shaded: str
) -> None:
    value, bound, limit, unit, verdict = figures
    one = finding("f", "k", verdict, "w", value=value, bound=bound, limit=limit, unit=unit)
    drawn = str(bullet(one))
    assert label in drawn
    begin = float(re.search(r'class="beyond" x="([\d.]+)"', drawn).group(1))  # type: ignore[union-attr]
    at = float(re.search(r'class="limit" x1="([\d.]+)"', drawn).group(1))  # type: ignore[union-attr]
    assert (begin == pytest.approx(at)) == (shaded == "right")


@pytest.mark.parametrize("limit", [None, float("inf"), float("nan")])
def test_without_a_limit_there_is_no_bar(limit: float | None) -> None:
    assert bullet(finding("f", "k", Verdict.PASS, "w", value=1.0, bound=2.0, limit=limit)) == ""


def test_the_map_has_every_population_with_its_figures(run_folder: Path) -> None:
    page = report_html(CASES[Verdict.FAIL], open_run(run_folder))
    section = page[page.index('id="map"') : page.index('id="failures"')]
    for population in plan().target.populations:
        assert population.name in section
    assert section.count("<circle") == 6
    assert section.count('class="people over"') == 1  # london, whose writes were down for too long
    assert "8.25 s" in section


def test_places_beyond_the_map_stand_at_its_rim() -> None:
    drawn = str(
        world([MapPlace("pole", 90, 200, "pole", 0.5), MapPlace("south", -90, -180, "south", 0.5)])
    )
    for x, y in re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', drawn):
        assert 0 <= float(x) <= 1000
        assert 0 <= float(y) <= 367


def test_data_in_the_page_cannot_end_its_element() -> None:
    text = str(
        as_element({"words": ["</script><script>alert(1)</script>", "<!--", "&amp;", "\u2028"]})
    )
    assert text.count("<") == 2
    assert text.count("</script>") == 1


def test_anchors_keep_names_apart() -> None:
    assert slug("read-p95") == "read-p95"
    assert len({slug(name) for name in ("a b", "a-b", "a_b", "A-B", "a<b", "")}) == 6
    assert all(re.fullmatch(r"[a-z0-9-]+", slug(name)) for name in ("🌩", "<script>", "x" * 300))


def test_cells_about_data_name_the_very_keys(run_folder: Path) -> None:
    lost = Cell(
        name="threads/7 version 3",
        verdict=Verdict.FAIL,
        samples=1,
        why="missing in eu, us",
        detail={
            "key": "threads/<7>",
            "version": 3,
            "session": None,
            "acknowledged_s": 41.2345,
            "missing": ["eu", "us"],
            "seen": True,
            "odd": math.nan,
        },
    )
    one = finding("acked", "ackedWrites", Verdict.FAIL, "1 lost", value=1.0, cells=(lost,))
    page = report_html(replace(CASES[Verdict.FAIL], objectives=(one,)), open_run(run_folder))
    table = page[page.index("The very keys") :].partition("</table>")[0]
    assert re.findall(r"<th scope[^>]*>(.*?)</th>", table) == [
        "key",
        "version",
        "session",
        "acknowledged",
        "missing",
        "seen",
        "odd",
    ]
    cells = [re.sub(r"<[^>]+>", "", one) for one in re.findall(r"<td[^>]*>(.*?)</td>", table)]
    assert cells == ["threads/&lt;7&gt;", "3", "–", "41.234 s", "eu, us", "yes", "–"]  # noqa: RUF001
    assert 'href="#t=41.2"' in table
    assert "The very keys" not in report_html(CASES[Verdict.FAIL], open_run(run_folder))


def test_every_chart_has_its_numbers(run_folder: Path) -> None:
    page = report_html(CASES[Verdict.FAIL], open_run(run_folder))
    drawn = re.findall(r'<svg class="(timeline|world|trend|distribution|multiple)"', page)
    assert {"timeline", "world", "distribution", "multiple"} <= set(drawn)
    numbers = re.findall(r"<summary>Numbers: (.*?)</summary>", page)
    panes = re.findall(r'class="plot p-([a-z0-9-]+)"', page)
    assert len(panes) >= 6
    titles = re.findall(r'<text class="title own-[^"]*"[^>]*>(.*?)</text>', page)
    assert len(titles) == len(panes)
    assert set(titles) <= set(numbers)
    assert "around region-loss, not good of all" in numbers
    around = page[page.index("around region-loss, not good of all") :].partition("</table>")[0]
    row = around[around.index("<td>+0.25 s") :].partition("</tr>")[0]
    first = re.findall(r"<td>(\d+) of (\d+)", row)
    assert len(first) == 6
    assert any(int(bad) > 0 for bad, _ in first)


def test_a_run_is_held_against_itself(run_folder: Path) -> None:
    page = report_html(CASES[Verdict.PASS], open_run(run_folder))
    section = page[page.index('id="noise"') : page.index('id="worst"')]
    row = re.findall(r"<td[^>]*>(.*?)</td>", section)[:6]
    assert row[:2] == ["read-p95, p95", "all"]
    halves = [float(value.removesuffix(" ms")) for value in row[2:4]]
    assert halves[0] == pytest.approx(halves[1], rel=0.2)
    assert re.fullmatch(r"[+-].* ms \([+-]\d+ %\)|\+0 ms \(\+0 %\)", row[4])
    assert [int(n.replace(",", "")) for n in row[5].split(", ")] == [6000, 6000]
