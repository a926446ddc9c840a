"""Objectives of every kind: how they are written, what an SLO fills in, and what they may refer
to.
"""

# ruff: noqa: E501 - tables read row by row

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stormgate.commands.documents import lay_out
from stormgate.documents import DocumentErrors, load_gate
from stormgate.documents.objectives import kinds, written_keys
from stormgate.documents.schema import SHAPES
from stormgate.documents.shapes import allowed_keys

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lay_out(tmp_path, "shop")
    target = tmp_path / "targets/shop.yaml"
    target.write_text(target.read_text() + "  observe: {cache: x-cache}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spec_of(suite: Path, written: str) -> dict[str, Any]:
    """The spec of one objective added to the starter gate."""
    path = suite / "slas" / "release.yaml"
    path.write_text(
        path.read_text().replace(
            "  objectives:\n    - name: availability",
            f"  objectives:\n    - {{name: it, {written}}}\n    - name: availability",
        )
    )
    return dict(load_gate(path).objectives[0].spec)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("kind: availability, target: 100%", {"target": 1, "within_ms": None, "phases": ["steady"]}),
        ("kind: availability, target: 0.9, where: {op: read}, by: population", {"where": {"op": ["read"]}, "by": ["population"]}),
        ("kind: availability, slo: shop-availability, where: {op: [read]}", {"target": 0.999, "within_ms": 2000, "where": {"op": ["read"]}}),
        ("kind: latency, quantile: 99%, lte: 1m", {"quantile": 0.99, "lte_ms": 60000}),
        ("kind: latency, slo: shop-availability", {"quantile": 0.999, "lte_ms": 2000}),
        ('kind: latency, quantile: 0.5, lte: 1s, phases: ["fault[web-loss]", recovery]', {"phases": ["fault[web-loss]", "recovery"]}),
        ("kind: failover, lte: 5s, fault: web-loss, sustained: 500ms, sustainedGood: 95%", {"lte_s": 5, "fault": "web-loss", "sustained_s": 0.5, "sustained_good": 0.95}),
        ("kind: budgetSpend, slo: shop-availability, lte: 2%", {"target": 0.999, "window_s": 2592000, "within_ms": 2000, "lte": 0.02}),
        ("kind: share, label: cache, values: hit, gte: 95%", {"label": "cache", "values": ["hit"], "gte": 0.95, "lte": None}),
        ("kind: ratio, quantile: 0.95, lte: 1.1", {"lte": 1.1, "versus": ["steady"]}),
    ],
)  # fmt: skip
def test_what_is_written_becomes_the_kinds_fields(
    suite: Path, written: str, expected: dict[str, Any]
) -> None:
    spec = spec_of(suite, written)
    assert {key: spec[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "kind: share, label: cache, values: hit",
            "objective 'it': give exactly one of gte and lte",
        ),
        (
            "kind: share, label: cach, values: hit, gte: 1%",
            "samples have no column 'cach'; did you mean 'cache'?",
        ),
        (
            "kind: ratio, quantile: 0.95, lte: 1.1, versus: [steddy]",
            "unknown phase 'steddy'; did you mean 'steady'?",
        ),
        ("kind: latency", "objective lacks 'quantile'; add 'quantile'"),
        ("kind: latency", "objective lacks 'lte'; add 'lte'"),
        ("kind: failover, slo: shop-availability", "objective lacks 'lte'; add 'lte'"),
        (
            "kind: share, slo: shop-availability",
            "an objective of kind 'share' takes nothing from an SLO; remove 'slo'",
        ),
        (
            "kind: availability, target: 0.9, minSamples: 0",
            "minSamples: 0 does not fit; input should be greater than or equal to 1",
        ),
        ("kind: availability, target: 0.9, minSamples: many", "minSamples: 'many' does not fit"),
        ("kind: availability, target: high", "target: 'high' does not fit"),
        (
            "kind: latency, quantile: 95%, lte: 1s, by: [shard]",
            "samples have no column 'shard'; columns: population, route, op, outcome, status, cache; "
            "or add observe: {shard: x-a-header} to the target",
        ),
        ("kind: availability, target: 0.9, where: [op]", "where: ['op'] does not fit"),
    ],
)
def test_what_does_not_fit_is_named(suite: Path, written: str, expected: str) -> None:
    with pytest.raises(DocumentErrors) as caught:
        spec_of(suite, written)
    assert any(expected in str(p) for p in caught.value.problems), caught.value
    assert all(p.line == 48 for p in caught.value.problems), caught.value


def test_a_gate_without_faults_cannot_judge_them(suite: Path) -> None:
    path = suite / "slas" / "release.yaml"
    text = path.read_text()
    start, end = text.index("  faults:"), text.index("  objectives:\n    - name")
    path.write_text(text[:start] + text[end:])
    with pytest.raises(
        DocumentErrors, match="'failover' judges faults, but the gate has none; add a fault"
    ):
        load_gate(path)


def test_fields_that_differ_in_their_unit_alone_keep_it() -> None:
    for name, spec in kinds().items():
        keys = written_keys(spec)
        assert sorted(keys.values()) == sorted(spec.model_fields), name


def test_the_manual_names_every_kind_and_every_key() -> None:
    manual = (ROOT / "docs" / "documents.md").read_text()
    missing = [f"kind {name}" for name in kinds() if f"`{name}`" not in manual]
    missing += [
        f"{name}.{key}"
        for name, spec in kinds().items()
        for key in written_keys(spec)
        if f"`{key}`" not in manual and key != "baseline"
    ]
    places = {
        "ReleaseGate": [("spec",), ("spec", "load"), ("spec", "phases"), ("spec", "faults", 0), ("spec", "validity"), ("spec", "abort"), ("spec", "abort", "errorRate"), ("spec", "policy"), ("spec", "blastRadius"), ("spec", "waivers", 0)],
        "Target": [("spec",), ("spec", "regions", 0), ("spec", "populations", 0), ("spec", "components", 0), ("spec", "components", 0, "observe"), ("spec", "steering")],
    }  # fmt: skip
    for kind, locs in places.items():
        for loc in locs:
            keys = allowed_keys(SHAPES[kind], loc)
            assert keys, (kind, loc)
            missing += [f"{kind} {loc} {key}" for key in keys if f"`{key}`" not in manual]
    assert missing == []


def test_a_kinds_own_labels_are_those_that_are_there(suite: Path) -> None:
    """`failback` looks at served_by and shard unless it is told otherwise."""
    with pytest.raises(DocumentErrors, match="no column 'served_by'"):
        spec_of(suite, "kind: failback, settle: 1s")
    target = suite / "targets/shop.yaml"
    target.write_text(target.read_text().replace("{cache: x-cache}", "{served_by: x-region}"))
    assert load_gate(suite / "slas/release.yaml").objectives[0].kind == "failback"
