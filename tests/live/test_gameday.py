"""A game day on the lab: rehearsed, aborted by a word, and the page about it walked as written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.tutorial import Reader

from stormgate.evidence.read import read_ndjson

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
CONTENT = ("experiments", "gamedays", "loadtests", "probes", "slas", "targets")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    place = tmp_path / "suite"
    place.mkdir()
    for name in CONTENT:
        shutil.copytree(ROOT / name, place / name)
    return place


def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "run").mkdir()
    return {
        **{name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if name in os.environ},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }


def short_day(suite: Path, tmp_path: Path) -> Path:
    """A day of one step over the release gate's users, in seconds."""
    for name in ("slas", "gamedays"):
        shutil.rmtree(suite / name)
        (suite / name).mkdir()
    for file in (ROOT / "slas").glob("*.yaml"):
        text = file.read_text().replace("warmup: 8s", "warmup: 2s")
        (suite / "slas" / file.name).write_text(text)
    day = json.loads(
        """{"apiVersion": "stormgate.dev/v1", "kind": "GameDay", "metadata": {"name": "short"},
        "spec": {"gate": "../slas/chenu-release.yaml", "ratePerS": 60, "steady": "1s",
        "final": "1s", "steps": [{"name": "cache", "recovery": "1s",
        "inject": {"mode": "kill", "component": "us-east/cache", "for": "2s"},
        "hypothesis": {"says": "Nobody is lied to.", "objectives": ["honest-errors"]}}]}}"""
    )
    path = suite / "gamedays" / "short.yaml"
    path.write_text(json.dumps(day))
    return path


def gameday(suite: Path, tmp_path: Path, *words: str, said: str = "") -> tuple[int, Path]:
    done = subprocess.run(
        [sys.executable, "-m", "stormgate.cli", "gameday", "run", *words],
        cwd=suite,
        env=environment(tmp_path),
        input=said,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    print(done.stdout, done.stderr)
    return done.returncode, next((suite / "reports").glob("2*"))


def test_a_rehearsal_asks_nobody_and_says_what_became_of_each_hypothesis(
    suite: Path, tmp_path: Path
) -> None:
    code, folder = gameday(suite, tmp_path, str(short_day(suite, tmp_path)), "--rehearse")
    # A busy machine may decide nothing; it never says that what nobody saw has held.
    assert code in (0, 3)
    report = (folder / "gameday.md").read_text()
    assert ("cache: held" in report) == (code == 0)
    assert "Nobody is lied to." in (folder / "gameday.html").read_text()
    rows, _ = read_ndjson(folder / "timeline.ndjson")
    order = ["gameday.step", "fault.requested", "fault.observed", "fault.cleared", "run.end"]
    assert [row["event"] for row in rows if row["event"] in order] == order
    sealed = next(row for row in rows if row["event"] == "gameday.step")
    assert sealed["digest"][:12] in report
    assert json.loads((folder / "verdict.json").read_text())["verdict"] != "PASS"


@pytest.mark.slow
def test_a_word_ends_the_day_with_everything_taken_back(suite: Path, tmp_path: Path) -> None:
    day = short_day(suite, tmp_path)
    env = environment(tmp_path)
    up = [sys.executable, "-m", "stormgate.cli", "lab"]
    subprocess.run([*up, "up"], cwd=suite, env=env, check=True, timeout=100)
    try:
        day.write_text(day.read_text().replace('"for": "2s"', '"for": "40s"'))
        walk = subprocess.Popen(
            [sys.executable, "-m", "stormgate.cli", "gameday", "run", str(day), "--by", "Ana"],
            cwd=suite,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert walk.stdin is not None
        assert walk.stdout is not None
        with walk.stdin, walk.stdout:
            walk.stdin.write("note nobody is late\ngo\n")
            walk.stdin.flush()
            for line in walk.stdout:
                if line.startswith("it stands"):
                    break
            walk.stdin.write("note detected\nabort\n")
            walk.stdin.flush()
            told = walk.stdout.read()
        assert walk.wait(60) == 5, told
        assert "aborted by Ana" in told
        folder = next((suite / "reports").glob("2*"))
        rows, _ = read_ndjson(folder / "timeline.ndjson")
        notes = [row["text"] for row in rows if row["event"] == "gameday.note"]
        assert notes == ["nobody is late", "detected"]
        assert "detected after" in (folder / "gameday.md").read_text()
        faults = subprocess.run(
            [sys.executable, "-m", "stormgate.cli", "faults"],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "no fault of this user on this machine is open" in faults.stdout
    finally:
        subprocess.run([*up, "down"], cwd=suite, env=env, check=False, timeout=60)


@pytest.mark.slow
def test_the_page_about_game_days_works_as_it_is_written(suite: Path, tmp_path: Path) -> None:
    with Reader(suite, environment(tmp_path)) as reader:
        try:
            reader.follow(ROOT / "docs" / "how-to" / "game-day.md")
        finally:
            reader.run("stormgate halt; stormgate lab down; true", 0)
    listed = next(text for text in reader.outputs if "hand-1" in text and "old, by" in text)
    assert "until" in listed
    assert list((suite / "reports").glob("*-cache-day-*/gameday.html"))
