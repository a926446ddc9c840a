"""docs/examples: a complete suite for each backend, each read and decidable; the pipelines of
docs/how-to/pipeline.md name commands that there are, and deploy only what passed.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from stormgate.cli import stormgate
from stormgate.commands.documents import init_command
from stormgate.documents import load_gate
from stormgate.documents.violations.planner import plan_violations
from stormgate.faults import backends
from stormgate.judge.planning import assess
from stormgate.supervise.preflight import read_workload

DOCS = Path(__file__).resolve().parents[3] / "docs"
EXAMPLES = DOCS / "examples"
GATES = sorted((EXAMPLES / "slas").glob("*.yaml"))
PIPELINE = DOCS / "how-to" / "pipeline.md"
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://api.staging.example:6443"}}]
contexts: [{name: staging, context: {cluster: a, user: me}}]
users: [{name: me, user: {}}]
"""


@pytest.fixture(autouse=True)
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.stem)
def test_an_example_is_read_and_can_be_decided(gate: Path) -> None:
    plan = load_gate(gate)
    assert plan.target.name == gate.stem
    assessment = assess(plan)
    assert assessment.decidable, [o.contradictions for o in assessment.objectives]
    # And each of its objectives can be violated there.
    proving = plan_violations(plan, lambda violation: None)
    shown = {name for one in proving.violations for name in one.objectives}
    assert shown == {o.name for o in plan.objectives}, proving.unviolated


def test_every_backend_has_one_and_every_one_is_listed() -> None:
    used = {c.backend for gate in GATES for c in load_gate(gate).target.components}
    # A command of yours has any modes, and a group is made of others.
    assert used == set(backends.writable()) - {"command", "group"}
    page = (EXAMPLES / "README.md").read_text()
    linked = set(re.findall(r"\]\(((?:slas|targets)/[a-z]+\.yaml)\)", page))
    there = {p.relative_to(EXAMPLES).as_posix() for p in EXAMPLES.glob("*/*.yaml")}
    assert linked == {name for name in there if not name.startswith("experiments/")}
    experiments = {f.experiment for gate in GATES for f in load_gate(gate).faults}
    assert experiments == {name for name in there if name.startswith("experiments/")}


def test_their_users_are_users() -> None:
    plan = load_gate(EXAMPLES / "slas" / "process.yaml")
    found = read_workload(plan, EXAMPLES)
    assert {cls["name"] for cls in found["classes"]} == {"Reader", "Writer"}


def commands() -> list[str]:
    text = PIPELINE.read_text()
    found = re.findall(r"(?:^|[\s|`-]|\|\| )(stormgate [a-z]+ [^`#\n]*)", text, re.MULTILINE)
    assert len(found) >= 8
    return [one.strip() for one in found]


@pytest.mark.parametrize("line", commands())
def test_the_pipelines_commands_are_there(line: str, tmp_path: Path) -> None:
    name, *words = shlex.split(line)[1:]
    context = click.Context(stormgate)
    command = stormgate.get_command(context, name)
    assert command is not None, line
    # Paths of a suite that is not there yet are the next test's.
    words = [str(tmp_path) if word.startswith("suite/reports") else word for word in words]
    words = [str(GATES[0]) if word.startswith("suite/slas") else word for word in words]
    command.make_context(name, list(words))


def test_what_the_pipelines_run_is_what_init_lays_out(tmp_path: Path) -> None:
    line = next(one for one in commands() if one.startswith("stormgate init"))
    words = [str(tmp_path / "suite") if w == "suite" else w for w in shlex.split(line)[2:]]
    laid = CliRunner().invoke(init_command, words)
    assert laid.exit_code == 0, laid.output
    plan = load_gate(tmp_path / "suite" / "slas" / "release.yaml")
    assert "staging.shop.example" in plan.target.allow


def test_production_waits_for_the_gate() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PIPELINE.read_text(), re.MULTILINE | re.DOTALL)
    github, gitlab = (YAML(typ="safe").load(block) for block in blocks)
    jobs = github["jobs"]
    assert jobs["production"]["needs"] == "gate"
    assert jobs["gate"]["needs"] == "staging"
    assert not any("continue-on-error" in step for step in jobs["gate"]["steps"])
    assert gitlab["stages"] == ["staging", "gate", "production"]
    assert gitlab["deploy-production"]["stage"] == "production"
    assert "allow_failure" not in gitlab["release-gate"]
