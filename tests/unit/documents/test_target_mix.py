"""A target whose populations are those of a mix, and what it says of distances."""

from __future__ import annotations

from pathlib import Path

import pytest

from stormgate.documents import load_target
from stormgate.documents.mix import mix_of_target, read_mix
from stormgate.documents.problems import DocumentErrors

MIX = """\
apiVersion: stormgate.dev/v1
kind: TrafficMix
metadata: {name: small}
spec:
  edges: edges.csv
  lastMile: 12ms
  groups:
    europe: {share: 75%, cities: [London, Paris]}
    asia: {share: 25%, lastMile: 20ms, cities: {Tokyo: 3, Singapore: 1}}
"""
TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: t}
spec:
  regions: [{name: eu-west, latitude: 53.35, longitude: -6.26}]
  populations:
    mix: mix.yaml
    labels: {shard: us}
    groups: {europe: {shard: eu}}
    links: {anycast: "http://127.0.0.1:8000"}
  rtt: [{between: [london, eu-west], takes: 11ms}]
"""


def written(tmp_path: Path, target: str, mix: str = MIX) -> Path:
    (tmp_path / "edges.csv").write_text(
        "name,city,country,group\nlhr,London,GB,europe\nnrt,Tokyo,JP,asia\nsin,Singapore,SG,asia\n"
    )
    (tmp_path / "mix.yaml").write_text(mix)
    (tmp_path / "target.yaml").write_text(target)
    return tmp_path / "target.yaml"


def test_the_cities_of_a_mix_become_populations(tmp_path: Path) -> None:
    target = load_target(written(tmp_path, TARGET))
    found = {p.name: p for p in target.populations}
    assert sum(p.share for p in target.populations) == pytest.approx(1.0)
    assert found["tokyo"].share == pytest.approx(0.1875)
    assert found["tokyo"].last_mile_ms == 20.0
    assert found["london"].last_mile_ms == 12.0
    assert found["london"].labels == {"country": "GB", "group": "europe", "shard": "eu"}
    assert found["singapore"].labels["shard"] == "us"
    assert found["singapore"].links == {"anycast": "http://127.0.0.1:8000"}
    assert found["singapore"].edges == ("anycast",)
    trips = mix_of_target(target).trips
    assert trips.between(found["london"], target.regions[0]).source == "target"
    assert read_mix(tmp_path / "target.yaml").mix.name == "t"


def test_a_last_mile_of_the_target_is_theirs_of_whom_the_mix_says_none(tmp_path: Path) -> None:
    text = TARGET.replace("mix: mix.yaml", "mix: mix.yaml\n    lastMile: 7ms")
    mix = MIX.replace("  lastMile: 12ms\n", "")
    found = {p.name: p for p in load_target(written(tmp_path, text, mix)).populations}
    assert (found["london"].last_mile_ms, found["tokyo"].last_mile_ms) == (7.0, 20.0)


def test_the_smaller_cities_join_the_larger(tmp_path: Path) -> None:
    text = TARGET.replace("mix: mix.yaml", "mix: mix.yaml\n    atMost: 2")
    target = load_target(written(tmp_path, text))
    shares = {p.name: p.share for p in target.populations}
    assert shares == pytest.approx({"london": 0.75, "tokyo": 0.25})


def test_the_lab_stands_for_the_edges_that_serve_the_users_best(tmp_path: Path) -> None:
    lab = "  provision: {lab: {pops: 2, shards: [{name: eu, primary: a, standby: b}]}}\n"
    text = TARGET.replace('    links: {anycast: "http://127.0.0.1:8000"}\n', "") + lab
    target = load_target(written(tmp_path, text))
    assert target.provision is not None
    assert [site["name"] for site in target.provision["lab"]["pops"]] == ["lhr", "nrt"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("mix: mix.yaml", "mix: gone.yaml", "there is no such file"),
        ("mix: mix.yaml", "mix: target.yaml", "not one TrafficMix"),
        ("europe: {shard: eu}", "europa: {shard: eu}", "'europa' is no group of mix.yaml"),
        ("    labels:", "    lables:", "lables"),
        ("[london, eu-west]", "[londn, eu-west]", "'londn', which is no place"),
        ("[london, eu-west]", "[london, london]", "from a place to itself"),
        ("takes: 11ms", "takes: 11", "is not a duration"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in TARGET
    with pytest.raises(DocumentErrors) as caught:
        load_target(written(tmp_path, TARGET.replace(old, new)))
    assert says in str(caught.value)
    assert "target.yaml:" in str(caught.value) or "gone.yaml" in str(caught.value)


def test_a_broken_mix_is_told_in_its_own_file(tmp_path: Path) -> None:
    with pytest.raises(DocumentErrors, match=r"mix\.yaml:8.*no city 'Lundon'"):
        load_target(written(tmp_path, TARGET, MIX.replace("London", "Lundon")))
