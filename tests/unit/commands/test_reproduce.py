"""`stormgate reproduce` before anything starts: what it refuses, with what is wrong, where, and
exit code 2; nothing is made.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.golden.judge_writer import OK, objective, plan_of, rows_of, synthetic, write_folder

ROOT = Path(__file__).resolve().parents[3]
RESET = 1


def stormgate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "stormgate.cli", *map(str, arguments)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def run_folder(folder: Path, outcome: int, locustfile: str = "loadtests/chenu.py") -> Path:
    """A run in which something called made-up crashed, and every request of its phase ended so."""
    plan = plan_of(
        [objective("availability", target=0.9, phases=["fault"])],
        steady_s=5.0,
        rate=50.0,
        faults=["lost"],
        recovery_s=5.0,
    )
    load = type(plan.load)(locustfile=locustfile, rate_per_s=50.0, users=10, workers=2)
    plan = type(plan)(**{**{k: getattr(plan, k) for k in plan.__slots__}, "load": load}).sealed()
    rows = rows_of(plan)
    rows.outcome[:] = outcome
    return write_folder(synthetic(plan, rows), folder)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("runs") / "failed", RESET)


def refused(*arguments: str | Path) -> str:
    done = stormgate("reproduce", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def test_what_is_no_failed_run_is_refused_with_what_is_wrong_and_where(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    passed = run_folder(tmp_path / "passed", OK)
    for given, told in (
        (tmp_path / "none", "none: there is no such run folder"),
        (tmp_path / "empty", "empty: plan.json: missing"),
        (passed, "passed: this run passed: there is nothing to reproduce"),
    ):
        said = refused(given, "--out", out)
        assert told in said
        assert "fix:" in said
    assert not out.exists()


def test_a_part_that_is_missing_is_named(failed: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(failed, cut)
    (cut / "timeline.ndjson").unlink()
    assert "timeline.ndjson: no timeline" in refused(cut)
    shutil.copytree(failed, cut, dirs_exist_ok=True)
    plan = (cut / "plan.json").read_text()
    (cut / "plan.json").write_text(plan.replace('"seed": 1', '"seed": 2'))
    assert "plan.json: the plan is not as it was sealed" in refused(cut)


def test_a_target_that_lacks_what_was_broken_is_refused(failed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = refused(failed, "--target", ROOT / "targets/lab.yaml", "--out", out)
    assert "made-up: target 'chenu-lab' has no component 'made-up'" in said
    assert "--map made-up=NAME" in said
    said = refused(failed, "--target", ROOT / "targets/lab.yaml", "--map", "made-up=nope")
    assert "has no component 'nope'" in said
    assert "THERE=HERE" in refused(failed, "--map", "made-up")
    assert not out.exists()


def test_what_cannot_be_shrunk_is_refused_before_anything_is_made(
    failed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    here = ("--target", ROOT / "targets/lab.yaml", "--map", "made-up=steward", "--out", out)
    said = refused(failed, *here, "--shrink", "--objective", "latency")
    assert "objective 'latency' did not fail in that run" in said
    assert "one of availability" in said
    assert "one after the other" in refused(failed, *here, "--shrink", "--hold")
    incident = tmp_path / "incident.yaml"
    incident.write_text("kind: Incident\n")
    assert "are for the folder of a failed run" in refused(incident, "--shrink")
    assert "are for incidents" in refused(failed, *here, "--speed", "10")
    assert not out.exists()


def test_without_a_target_or_the_locust_file_nothing_is_played(
    failed: Path, tmp_path: Path
) -> None:
    said = refused(failed)
    assert "targets/local.yaml: there is no such target document" in said
    assert "the run was on 'made-up' (laboratory)" in said
    other = run_folder(tmp_path / "other", RESET, "loadtests/gone.py")
    said = refused(other, "--target", ROOT / "targets/lab.yaml")
    assert "its Locust file loadtests/gone.py is not in" in said
    assert "--suite" in said
