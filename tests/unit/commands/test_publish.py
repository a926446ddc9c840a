"""`stormgate publish`: what a rollout controller gets over HTTP, before and after the verdict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.golden.report_cases import CASES, plan

from stormgate.commands.finished.publish import command, response
from stormgate.model import Verdict
from stormgate.report import initial, verdict_json

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def judged(folder: Path, verdict: Verdict) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "verdict.json").write_text(verdict_json(CASES[verdict]))
    (folder / "summary.md").write_text("# the summary\n")
    return folder


@pytest.mark.parametrize("verdict", list(CASES))
def test_a_judged_run_is_200_whatever_it_came_to(tmp_path: Path, verdict: Verdict) -> None:
    answer = response(judged(tmp_path / "run", verdict), "GET")
    assert answer.status == 200
    assert json.loads(answer.body)["verdict"] == verdict.value
    assert answer.headers["Cache-Control"] == "no-store"


def test_without_a_verdict_it_is_503(tmp_path: Path) -> None:
    assert response(tmp_path / "none", "GET").status == 503
    run = tmp_path / "run"
    run.mkdir()
    (run / "verdict.json").write_text(initial(plan())["verdict.json"])
    answer = response(run, "GET")
    assert (answer.status, json.loads(answer.body)["state"]) == (503, "RUNNING")
    (run / "verdict.json").write_text('{"verdict": "PASS"}')
    assert response(run, "GET").status == 503


def test_it_is_read_only(tmp_path: Path) -> None:
    assert response(judged(tmp_path / "run", Verdict.PASS), "POST").status == 405


def test_printed_written_and_annotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out, summary = judged(tmp_path / "run", Verdict.FAIL), tmp_path / "o", tmp_path / "s"
    runner = CliRunner()
    done = runner.invoke(command, [str(run)], standalone_mode=False)
    assert (done.return_value, json.loads(done.output)["failure"]) == (0, True)
    done = runner.invoke(command, [str(run), "--out", str(out)], standalone_mode=False)
    assert (done.output, json.loads(out.read_text())["run"]) == ("", "run")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    summary.write_text("before\n")
    done = runner.invoke(command, [str(run), "--github"], standalone_mode=False)
    assert done.output.startswith("::error ")
    assert summary.read_text() == "before\n# the summary\n"


def test_no_verdict_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(tmp_path / "none")])
    assert done.exit_code != 0
    assert "no readable verdict.json" in done.output


def test_served_while_the_run_goes_on_and_after(tmp_path: Path) -> None:
    run = tmp_path / "run"
    argv = [
        sys.executable,
        "-m",
        "stormgate.cli",
        "publish",
        str(run),
        "--serve",
        "0",
        "--for",
        "30",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = re.findall(r"http://\S+/", process.stdout.readline())[0]
            with pytest.raises(urllib.error.HTTPError) as caught:
                OPENER.open(url, timeout=5)
            caught.value.close()
            assert caught.value.code == 503
            judged(run, Verdict.PASS)
            with OPENER.open(url, timeout=5) as answer:
                assert json.load(answer)["success"] is True
        finally:
            process.kill()
