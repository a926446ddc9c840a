"""TrafficMix documents: what they become, and every mistake with its line and fix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stormgate.documents.mix import mix_of_target, read_mix, slug
from stormgate.documents.problems import DocumentErrors
from stormgate.geography.mix import MixError
from stormgate.model import Population, Region, Target

MIX = """\
apiVersion: stormgate.dev/v1
kind: TrafficMix
metadata: {name: small, displayName: A small world}
spec:
  requestsPerDay: 8640000
  edges: edges.csv
  regions: regions.csv
  groups:
    europe:
      share: 75%
      cities: [London, Paris]
    asia:
      share: 0.25
      cities: {Tokyo: 3, Singapore: 1}
  day:
    work: {share: 100%, base: 0.2, peaks: [{at: "09:30", height: 2, rise: 30m, fall: 4h, days: weekdays}]}
"""  # noqa: E501
EDGES = "# PoPs\nname,city,country,group\nlhr,London,GB,europe\nnrt,Tokyo,JP,asia\n"
REGIONS = "name,city,country,group\neu-west,Dublin,IE,europe\nap-north,Osaka,JP,asia\n"


def write(folder: Path, mix: str = MIX, edges: str = EDGES, regions: str = REGIONS) -> Path:
    for name, text in (("mix.yaml", mix), ("edges.csv", edges), ("regions.csv", regions)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "mix.yaml"


def test_what_a_document_becomes(tmp_path: Path) -> None:
    traffic = read_mix(write(tmp_path))
    assert traffic.title == "A small world"
    assert traffic.mean_rate_per_s == 100.0
    shares = {o.name: o.share for o in traffic.mix.origins}
    assert shares["tokyo"] == pytest.approx(0.1875)
    assert shares["singapore"] == pytest.approx(0.0625)
    assert shares["london"] + shares["paris"] == pytest.approx(0.75)
    assert shares["london"] > shares["paris"]  # by inhabitants
    assert [(e.name, e.place, e.region, e.group) for e in traffic.mix.edges] == [
        ("lhr", "London", "eu-west", "europe"),
        ("nrt", "Tokyo", "ap-north", "asia"),
    ]
    assert {o.time_zone for o in traffic.mix.origins} >= {"Europe/London", "Asia/Tokyo"}
    (share, curve) = traffic.day.uses["work"]
    (peak,) = curve.peaks
    assert (share, curve.base, peak.at_h, peak.height, peak.rise_h, peak.fall_h) == (
        1.0,
        0.2,
        9.5,
        2,
        0.5,
        4,
    )
    assert peak.days == frozenset(range(5))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "kind: TrafficMix",
            "kind: TraficMix",
            "mix.yaml:2: kind 'TraficMix' has no traffic to show; did you mean 'TrafficMix'?",
        ),
        (
            "kind: TrafficMix",
            "kind: Plan",
            "has no traffic to show; allowed here: TrafficMix, Target",
        ),
        ("kind: TrafficMix\n", "", "mix.yaml:1: a document without a kind has no traffic to show"),
        (
            "apiVersion: stormgate.dev/v1",
            "apiVersion: stormgate.dev/v2",
            "mix.yaml:1: apiVersion: 'stormgate.dev/v2' is unknown",
        ),
        (
            "kind: TrafficMix",
            "kind: TrafficMix\n---\nkind: TrafficMix",
            "mix.yaml:4: a second TrafficMix in one file",
        ),
        ("75%", "70%", "mix.yaml:8: the shares of groups sum to 0.95"),
        (
            "[London, Paris]",
            "[London, Parris]",
            "mix.yaml:11: no city 'Parris'; did you mean Paris",
        ),
        ("Tokyo: 3", "Tokyo: 0", "mix.yaml:14: 'Tokyo' has weight 0"),
        ("share: 0.25", "shares: 0.25", "mix.yaml:13: unknown key 'shares'"),
        ("edges: edges.csv", "edges: nowhere.csv", "nowhere.csv:1: cannot be read"),
        ('"09:30"', '"25:00"', "'25:00' is not a time of day"),
        ("days: weekdays", "days: sundays", "'sundays' is unknown"),
        ("share: 100%", "share: 90%", "mix.yaml:15: the shares of day sum to 0.9"),
        ("[London, Paris]", "[London, London]", "origin 'london' is listed twice"),
        ("[London, Paris]", "[]", "mix.yaml:11"),
    ],
)
def test_mistakes_in_the_document(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(DocumentErrors) as caught:
        read_mix(write(tmp_path, mix=MIX.replace(old, new)))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("fra,Frankfort,DE,europe", "edges.csv:3: no city 'Frankfort'; did you mean Frankfurt"),
        ("par,Paris,JP,europe", "edges.csv:3: no city 'Paris' in country 'JP'; there is one in FR"),
        ("par,Paris,FR", "edges.csv:3: 3 columns, not 4"),
        ("PAR,Paris,FR,europe", "edges.csv:3: 'PAR' is not a name"),
        ("nrt,Tokyo,JP,asia", "edges.csv:4: 'nrt' is listed twice"),
    ],
)
def test_mistakes_in_a_table(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(DocumentErrors) as caught:
        read_mix(write(tmp_path, edges=EDGES.replace("lhr,London,GB,europe", row)))
    assert says in str(caught.value)


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DocumentErrors, match=re.escape("edges.csv:1: the first row does not name the columns")
    ):
        read_mix(write(tmp_path, edges="lhr,London,GB,europe\n"))


def test_every_mistake_at_once(tmp_path: Path) -> None:
    broken = MIX.replace("[London, Paris]", "[Lundon, Pariss]").replace("75%", "70%")
    with pytest.raises(DocumentErrors) as caught:
        read_mix(write(tmp_path, mix=broken, edges=EDGES + "x,Nowhereville,GB,europe\n"))
    assert len(caught.value.problems) == 4


def test_a_target_is_a_mix_too() -> None:
    target = Target(
        name="lab",
        regions=(Region(name="eu-west", latitude=53.3, longitude=-6.3, continent="eu"),),
        populations=(
            Population(
                name="london", share=1.0, latitude=51.5, longitude=-0.1, labels={"country": "GB"}
            ),
        ),
    )
    mix = mix_of_target(target)
    assert [(o.name, o.country) for o in mix.origins] == [("london", "GB")]
    assert [e.name for e in mix.edges] == [r.name for r in mix.regions] == ["eu-west"]
    with pytest.raises(MixError, match="no origin"):
        mix_of_target(Target(name="empty"))


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("São Paulo", "sao-paulo"),
        ("N'Djamena", "n-djamena"),
        ("Saint Peter Port", "saint-peter-port"),
        ("Århus", "arhus"),
    ],
)
def test_slugs(name: str, made: str) -> None:
    assert slug(name) == made
