"""The suite's own documents load, keep to their arithmetic, and fit the schemas editors are
given.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from stormgate.commands.documents import init_command, lay_out, schema_command
from stormgate.documents import DocumentErrors, Problem, load_gate, load_target
from stormgate.documents.experiments import Given, check_experiment
from stormgate.documents.problems import Problems
from stormgate.documents.schema import SHAPES, combined, schemas
from stormgate.judge.planning import assess
from stormgate.supervise.preflight import preflight

ROOT = Path(__file__).resolve().parents[3]
SLAS = sorted((ROOT / "slas").glob("*.yaml"))
GATES = [path for path in SLAS if "kind: ReleaseGate" in path.read_text()]
OURS = [*SLAS, *sorted((ROOT / "targets").glob("*.yaml"))]


@pytest.mark.parametrize("path", GATES, ids=lambda p: p.name)
def test_every_gate_loads(path: Path) -> None:
    assert load_gate(path).objectives


def test_the_release_gate_is_big_enough_and_short_enough() -> None:
    plan = load_gate(ROOT / "slas" / "chenu-release.yaml")
    assert plan.gate == "chenu-release"
    assert (plan.steady_s + plan.final_s) * plan.load.rate_per_s > 33_000
    hold_s = sum(float(fault.configuration["hold_s"]) for fault in plan.faults)
    assert (
        plan.warmup_s
        + plan.steady_s
        + hold_s
        + sum(f.recovery_s for f in plan.faults)
        + plan.final_s
        <= 135
    )
    kinds = {o.name: (o.kind, o.spec) for o in plan.objectives}
    assert kinds["availability"][1]["target"] == 0.9999
    assert (kinds["read-p95"][1]["lte_ms"], kinds["read-p95"][1]["coverage"]) == (50, 0.9)
    assert (kinds["write-p95"][1]["lte_ms"], kinds["write-p95"][1]["where"]) == (
        200,
        {"op": ["write"]},
    )
    assert kinds["failover"][1]["lte_s"] == 5


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda p: p.name
)
def test_every_experiment_fits_the_lab(path: Path) -> None:
    problems = Problems()
    # The lab with all that it can have.
    lab = load_target(ROOT / "targets" / "lab-inference.yaml")
    check_experiment(path, Given(), ROOT, lab, problems)
    assert [str(p) for p in problems] == []


def loaded(path: Path) -> list[dict[str, Any]]:
    return [dict(one) for one in YAML(typ="safe").load_all(path.read_text())]


@pytest.mark.parametrize("path", OURS, ids=lambda p: p.name)
def test_our_documents_fit_the_schema(path: Path) -> None:
    validator = Draft202012Validator(combined())
    for document in loaded(path):
        if document["kind"] in SHAPES:
            assert [error.message for error in validator.iter_errors(document)] == []


def test_the_starter_set_fits_the_schema(starter: Path) -> None:
    validator = Draft202012Validator(combined())
    for name in ("slas/release.yaml", "targets/shop.yaml"):
        for document in loaded(starter / name):
            assert [error.message for error in validator.iter_errors(document)] == []


def test_the_schemas_refuse_what_the_reader_refuses() -> None:
    gate = next(
        d for d in loaded(ROOT / "slas" / "chenu-release.yaml") if d["kind"] == "ReleaseGate"
    )
    validator = Draft202012Validator(schemas()["ReleaseGate"])
    assert validator.is_valid(gate)
    for change in (
        {"seedd": 1},
        {"phases": {"warmup": 5, "steady": "1s", "final": "1s"}},
        {"objectives": []},
    ):
        assert not validator.is_valid({**gate, "spec": {**gate["spec"], **change}})
    objective = {"name": "x", "kind": "latency", "quantile": "95%", "lte": "50ms"}
    assert validator.is_valid({**gate, "spec": {**gate["spec"], "objectives": [objective]}})
    for wrong in (
        {**objective, "lte": 50},
        {**objective, "ltee": "1s"},
        {"name": "x", "kind": "latency"},
    ):
        assert not validator.is_valid({**gate, "spec": {**gate["spec"], "objectives": [wrong]}})


def test_the_schema_command() -> None:
    run = CliRunner()
    assert run.invoke(schema_command, ["Target"]).output.startswith("{")
    wrong = run.invoke(schema_command, ["Targt"])
    assert (wrong.exit_code, "did you mean 'Target'?" in wrong.output) == (1, True)


def test_init_lays_out_a_set_that_loads_and_overwrites_nothing(tmp_path: Path) -> None:
    run, folder = CliRunner(), tmp_path / "My Shop"
    result = run.invoke(init_command, [str(folder)])
    assert result.exit_code == 0, result.output
    assert load_gate(folder / "slas" / "release.yaml").gate == "my-shop-release"
    before = {p: p.read_text() for p in folder.rglob("*") if p.is_file()}
    again = run.invoke(init_command, [str(folder)])
    assert again.exit_code != 0
    assert "is not overwritten" in again.output
    assert {p: p.read_text() for p in folder.rglob("*") if p.is_file()} == before
    assert run.invoke(init_command, [str(tmp_path / "x"), "--name", "../evil"]).exit_code != 0


KINDS = ["http", "process", "compose"]


@pytest.mark.parametrize("kind", [*KINDS, "kubernetes"])
@pytest.mark.parametrize("urls", [(), ("eu=http://127.0.0.1:81", "us=https://us.shop.example/v1")])
def test_init_of_every_kind_lays_out_what_can_be_decided(kind, urls, tmp_path, monkeypatch) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    clusters = [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443"}}]
    named = ("home", "eu", "us")
    contexts = [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in named]
    users = [{"name": "u", "user": {"token": "t"}}]
    kubeconfig.write_text(json.dumps({"clusters": clusters, "contexts": contexts, "users": users}))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    given = [word for url in urls for word in ("--url", url)]
    folder = tmp_path / "shop"
    result = CliRunner().invoke(init_command, [str(folder), "--kind", kind, "--rate", "60", *given])
    assert result.exit_code == 0, result.output
    gate = folder / "slas" / "release.yaml"
    assert "users:" not in gate.read_text().partition("  seed:")[0].partition("load:")[2]
    plan = preflight(gate, load_gate(gate), folder)
    assert plan.load.rate_per_s == 60
    regions = ["eu", "us"] if urls else ["home"]
    assert [region.name for region in plan.target.regions] == regions
    assert sum(population.share for population in plan.target.populations) == pytest.approx(1)
    # Of each class of users there are some in each population.
    assert plan.load.users == 10 * len(regions)
    assert len(plan.target.components) == (0 if kind == "http" else len(regions))
    assessment = assess(plan, 15.0)
    assert assessment.decidable, assessment
    assert all(o.requests_expected >= o.requests_needed for o in assessment.objectives)
    validator = Draft202012Validator(combined())
    for name in ("slas/release.yaml", "targets/shop.yaml"):
        for document in loaded(folder / name):
            validator.validate(document)
    assert (
        "stormgate gate slas/release.yaml"
        in (folder / ".github" / "workflows" / "release-gate.yml").read_text()
    )


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        (["127.0.0.1:80"], "is not a base URL; write http://host:port"),
        (["http://127.0.0.1:x"], "is not a base URL"),
        (["http://me:secret@127.0.0.1"], "credentials in a URL"),
        (["EU=http://127.0.0.1"], "'EU' is not a region's name"),
        (["eu=http://127.0.0.1", "eu=http://127.0.0.2"], "region 'eu' is given twice"),
    ],
)
def test_init_refuses_what_is_no_address(urls, told, tmp_path) -> None:
    given = [word for url in urls for word in ("--url", url)]
    result = CliRunner().invoke(init_command, [str(tmp_path / "x"), *given])
    assert result.exit_code != 0
    assert told in result.output
    assert not (tmp_path / "x").exists()


def test_init_asks_a_person_at_a_terminal(tmp_path, monkeypatch) -> None:
    """At a real terminal of its own, where what is not said by options is asked."""
    ours, theirs = os.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "stormgate.cli", "init", str(tmp_path / "shop")],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    os.close(theirs)
    os.write(ours, b"eu=http://127.0.0.1:81\nus=http://127.0.0.1:82\n\nhttp\n")
    output, _ = done.communicate(timeout=30)
    os.close(ours)
    assert done.returncode == 0, output.decode()
    target = load_target(tmp_path / "shop" / "targets" / "shop.yaml")
    assert [population.links for population in target.populations] == [
        {"eu": "http://127.0.0.1:81", "us": "http://127.0.0.1:82"},
        {"us": "http://127.0.0.1:82", "eu": "http://127.0.0.1:81"},
    ]
    assert target.components == ()


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("starter")
    lay_out(folder, "shop")
    return folder


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_document_breaks_the_reader(starter: Path, data: st.DataObject) -> None:
    """Any cut or scribble gives a plan or DocumentErrors, never another exception."""
    name = data.draw(
        st.sampled_from(["slas/release.yaml", "targets/shop.yaml", "experiments/web-loss.yaml"])
    )
    original = (starter / name).read_text()
    at = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(at, min(len(original), at + 40)))
    scribble = data.draw(
        st.one_of(
            st.sampled_from(["", "[]", "{}", "null", "-1", "1e999", ": ", "- ", "&a *a", "x: 1\n"]),
            st.text(max_size=12),
        )
    )
    (starter / name).write_text(
        original[:at] + scribble + original[end:], encoding="utf-8", errors="replace"
    )
    found: tuple[Problem, ...] = ()
    try:
        load_gate(starter / "slas" / "release.yaml")
    except DocumentErrors as error:
        found = error.problems or (Problem("", 0, "", ""),)
    finally:
        (starter / name).write_text(original)
    assert all(p.line >= 1 and p.message and p.fix for p in found)


def test_the_address_a_proxy_line_announces_is_one(tmp_path: Path) -> None:
    text = (ROOT / "targets" / "lab.yaml").read_text()
    path = tmp_path / "t.yaml"
    path.write_text(
        text.replace("{x-client-country: GB}}", "{x-client-country: GB}, proxySource: 2001:DB8::7}")
    )
    assert [one.proxy_source for one in load_target(path).populations if one.proxy_source] == [
        "2001:db8::7"
    ]
    path.write_text(path.read_text().replace("2001:DB8::7", "192.0.2.x"))
    with pytest.raises(
        DocumentErrors,
        match=r"t\.yaml:24: .*proxySource: '192\.0\.2\.x' does not appear to be an IPv4 or IPv6",
    ):
        load_target(path)
