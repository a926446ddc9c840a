"""SLOs as OpenSLO v1 allows them to be written, and what a gate takes from them."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

import pytest
import yaml

from stormgate.commands.documents import lay_out
from stormgate.documents import DocumentErrors, load_gate

ROOT = Path(__file__).resolve().parents[3]
GATE = "slas/release.yaml"
OURS = "type: stormgate, spec"


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lay_out(tmp_path, "shop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(
    suite: Path, slos: str, *, kind: str = "availability", more: str = "", gate: str = ""
) -> None:
    """A gate with one objective over SLO `api`, whose SLOs stand in slas/slos.yaml."""
    (suite / "slas/slos.yaml").write_text(textwrap.dedent(slos))
    _head, _, rest = (suite / GATE).read_text().rpartition("---\n")
    rest = rest[: rest.index("  objectives:")]
    rest = rest.replace(
        "sloRefs: [shop-availability]", f"sloFiles: [slos.yaml]\n  sloRefs: [api]{gate}"
    )
    objective = f"  objectives:\n    - {{name: first, kind: {kind}, slo: api{more}}}\n"
    (suite / GATE).write_text(rest + objective)


def slo(metric: str, objectives: str = "[{target: 0.99}]", more: str = "") -> str:
    return f"""\
    apiVersion: openslo/v1
    kind: SLO
    metadata: {{name: api, labels: {{team: [a, b], tier: one}}}}
    spec:
      service: Shop API
      indicator: {{metadata: {{name: api-good}}, spec: {{{metric}}}}}
      timeWindow: [{{duration: 4w, isRolling: true}}]
      budgetingMethod: Occurrences
      objectives: {objectives}
{textwrap.indent(textwrap.dedent(more), "      ")}"""


def spec(suite: Path) -> dict:
    return load_gate(suite / GATE).objectives[0].spec


def problems(suite: Path) -> list[str]:
    with pytest.raises(DocumentErrors) as caught:
        load_gate(suite / GATE)
    return [str(problem) for problem in caught.value.problems]


def ratio(good: str = "good: {metricSource: {type: stormgate, spec: {within: 2s}}}") -> str:
    total = "total: {metricSource: {type: stormgate, spec: {where: {op: read}}}}"
    return f"ratioMetric: {{{good}, {total}}}"


THRESHOLD = "thresholdMetric: {metricSource: {type: stormgate, spec: {metric: latencyS}}}"
PROMETHEUS = (
    "ratioMetric: {counter: true, good: {metricSource: {type: Prometheus, spec: {query: a}}}, "
    "total: {metricSource: {type: Prometheus, spec: {query: b}}}}"
)


def test_bad_of_total(suite):
    put(suite, slo(ratio("bad: {metricSource: {type: stormgate, spec: {beyond: 300ms}}}")))
    assert (spec(suite)["target"], spec(suite)["within_ms"]) == (0.99, 300)
    assert spec(suite)["where"] == {"op": ["read"]}


@pytest.mark.parametrize(("op", "limit"), [("lte", 250.0), ("lt", math.nextafter(250.0, 0))])
def test_a_threshold_metric_is_a_time_limit(suite, op, limit):
    put(suite, slo(THRESHOLD, f"[{{target: 0.95, op: {op}, value: 0.25}}]"), kind="latency")
    assert (spec(suite)["quantile"], spec(suite)["lte_ms"]) == (0.95, limit)


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        ("op: gte, value: 1, target: 0.9", "gte promises slow answers; write op: lte"),
        ("target: 0.9", "has no op for its thresholdMetric; write op: lte and a value"),
        ("op: lte, target: 0.9", "has no value above 0; write the limit as its value"),
        ("op: lte, value: 0, target: 0.9", "has no value above 0"),
    ],
)
def test_a_threshold_that_promises_nothing_a_run_can_see(suite, objective, says):
    put(suite, slo(THRESHOLD, f"[{{{objective}}}]"), kind="latency")
    (found,) = problems(suite)
    assert says in found
    assert found.startswith("slas/slos.yaml:9:")


TWO = (
    "[{displayName: usual, op: lte, value: 0.2, target: 0.95}, {op: lte, value: 2, target: 0.999}]"
)


def test_several_objectives_in_one_slo(suite):
    put(suite, slo(THRESHOLD, TWO), kind="latency", more=", sloObjective: usual")
    gate = suite / GATE
    (found,) = problems(suite)
    assert "SLO 'api' is on trial, but no objective judges '2'" in found
    second = "    - {name: second, kind: latency, slo: api, sloObjective: 2}\n"
    gate.write_text(gate.read_text() + second)
    first, other = load_gate(gate).objectives
    assert (first.spec["quantile"], first.spec["lte_ms"]) == (0.95, 200)
    assert (other.spec["quantile"], other.spec["lte_ms"]) == (0.999, 2000)
    gate.write_text(gate.read_text().replace("sloObjective: usual", "sloObjective: usul"))
    assert any("no objective 'usul'; did you mean 'usual'?" in one for one in problems(suite))
    gate.write_text(gate.read_text().replace(", sloObjective: usul", ""))
    assert any(
        "has 2 objectives; say which: sloObjective: usual or 2" in p for p in problems(suite)
    )


def test_each_objective_may_have_an_indicator_of_its_own(suite):
    text = slo("X", "[{target: 0.9, indicatorRef: reads}]").replace(
        "      indicator: {metadata: {name: api-good}, spec: {X}}\n", ""
    )
    sli = f"""\
    ---
    apiVersion: openslo/v1
    kind: SLI
    metadata: {{name: reads}}
    spec: {{{ratio()}}}
    """
    put(suite, text + "\n" + sli)
    assert spec(suite)["target"] == 0.9
    put_weighed = text.replace("target: 0.9,", "target: 0.9, compositeWeight: 2,")
    (suite / "slas/slos.yaml").write_text(textwrap.dedent(put_weighed + "\n" + sli))
    (found,) = problems(suite)
    assert "weighs its objectives into one; a gate judges each by itself" in found


def test_a_window_of_the_calendar(suite):
    calendar = "{startTime: 2027-01-01 00:00:00, timeZone: Europe/Paris}"
    text = slo(ratio()).replace(
        "{duration: 4w, isRolling: true}",
        f"{{duration: 1M, isRolling: false, calendar: {calendar}}}",
    )
    put(suite, text, kind="budgetSpend", more=", lte: 10%")
    assert spec(suite)["window_s"] == 30 * 86400
    (suite / "slas/slos.yaml").write_text(
        (suite / "slas/slos.yaml").read_text().replace(f", calendar: {calendar}", "")
    )
    assert "a window either rolls or follows a calendar" in problems(suite)[0]


@pytest.mark.parametrize("name", ["slos.yaml", "slos.json"])
def test_documents_in_a_list(suite, name):
    put(suite, slo(ratio()))
    one = yaml.safe_load((suite / "slas/slos.yaml").read_text())
    service = {"apiVersion": "openslo/v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}}
    (suite / "slas" / name).write_text(yaml.safe_dump([service, one], default_flow_style=True))
    gate = suite / GATE
    gate.write_text(gate.read_text().replace("[slos.yaml]", f"[{name}]"))
    assert spec(suite)["target"] == 0.99


def test_a_mistake_in_a_list_is_told_at_its_line(suite):
    put(suite, slo(ratio()))
    text = (suite / "slas/slos.yaml").read_text().replace("target: 0.99", "target: 1.5")
    (suite / "slas/slos.yaml").write_text("- " + textwrap.indent(text, "  ")[2:])
    (found,) = problems(suite)
    assert found.startswith("slas/slos.yaml:9: spec.objectives[0].target: 1.5 is not a target")


def test_what_somebody_elses_source_counts_is_for_the_gate_to_say(suite):
    put(suite, slo(PROMETHEUS))
    (found,) = problems(suite)
    assert found.startswith("slas/slos.yaml:6: SLO 'api' asks Prometheus: the gate measures users")
    assert "metricSources: {api-good: {within: 2s}}" in found
    gate = suite / GATE
    plain = gate.read_text()
    for name in ("api-good", "api"):
        said = f"metricSources: {{{name}: {{within: 700ms, where: {{op: write}}}}}}"
        gate.write_text(plain.replace("  sloRefs", f"  {said}\n  sloRefs"))
        assert (spec(suite)["within_ms"], spec(suite)["where"]) == (700, {"op": ["write"]})
    gate.write_text(gate.read_text().replace("{api:", "{apy:"))
    assert any("asks Prometheus" in one for one in problems(suite))
    (suite / "slas/slos.yaml").write_text(textwrap.dedent(slo(ratio())))
    (found,) = problems(suite)
    assert "no SLO on trial has a source 'apy'; did you mean 'api'?" in found


def test_a_number_of_somebody_elses_source(suite):
    metric = "thresholdMetric: {metricSource: {metricSourceRef: grafana, spec: {q: up}}}"
    put(
        suite,
        slo(metric, "[{target: 0.9, op: lt, value: 300}]"),
        kind="latency",
        gate="\n  metricSources: {api: {where: {op: read}}}",
    )
    (found,) = problems(suite)
    assert "nobody says which number" in found
    gate = suite / GATE
    gate.write_text(gate.read_text().replace("{where", "{metric: latencyMs, where"))
    assert spec(suite)["lte_ms"] == pytest.approx(300)


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("ratioMetric: {good: {metricSource: {type: stormgate, spec: {}}}}", "either total or raw"),
        (ratio("counter: true"), "either good or bad of its total"),
        (f"{ratio()}, {THRESHOLD}", "either ratioMetric or thresholdMetric"),
        (
            ratio("good: {metricSource: {type: stormgate, spec: {withn: 2s}}}"),
            "unknown key 'withn'",
        ),
    ],
)
def test_what_openslo_refuses_is_refused(suite, metric, says):
    put(suite, slo(metric))
    assert says in problems(suite)[0]


def test_files_of_slos_may_hold_what_is_no_business_of_a_gate(suite):
    others = """
    ---
    apiVersion: openslo.com/v2alpha
    kind: SLO
    metadata: {name: theirs}
    ---
    apiVersion: monitoring.coreos.com/v1
    kind: PrometheusRule
    """
    put(suite, slo(ratio()) + others)
    assert spec(suite)["target"] == 0.99


def test_the_promises_of_the_product_are_openslo_and_nothing_else():
    """The rules of OpenSLO's own validator (its Go SDK) for the fields that are free for us: every
    document is of its version and kind, and no metricSource has an empty spec.
    """
    documents = list(yaml.safe_load_all((ROOT / "slas/slos.yaml").read_text()))
    assert [one["metadata"]["name"] for one in documents] == [
        "chenu-availability",
        "chenu-read-latency",
        "chenu-write-latency",
    ]
    for one in documents:
        assert (one["apiVersion"], one["kind"]) == ("openslo/v1", "SLO")
        metric = one["spec"]["indicator"]["spec"]["ratioMetric"]
        assert metric["good"]["metricSource"]["spec"]
        assert metric["total"]["metricSource"]["spec"]
        assert one["spec"]["timeWindow"] == [{"duration": "30d", "isRolling": True}]
