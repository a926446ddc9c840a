"""docs/tutorial.md does what it says, exactly as it is written, from an empty folder."""

import json
import os
import sys
from pathlib import Path

import pytest
from tests.live.tutorial import Reader, steps

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.timeout(300)]

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_tutorial_works_as_it_is_written(tmp_path):
    place = tmp_path / "empty"
    place.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        **{name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if name in os.environ},
    }
    with Reader(place, environment) as reader:
        try:
            reader.follow(DOCS / "tutorial.md")
        finally:
            reader.run(
                "python3 shop.py down; stormgate wire suite/targets/suite.yaml --stop; true", 0
            )
    verdicts = [
        json.loads((folder / "verdict.json").read_text())
        for folder in sorted((place / "suite" / "reports").glob("2*"))
    ]
    assert [verdict["verdict"] for verdict in verdicts] == ["PASS", "FAIL"]
    failed = {o["name"]: o["verdict"] for o in verdicts[1]["objectives"]}
    assert failed == {"availability": "PASS", "p95": "PASS", "failover": "FAIL"}


def test_the_blocks_are_found_and_each_knows_its_file():
    found = list(steps(DOCS / "tutorial.md"))
    assert [step.exit_code for step in found if step.exit_code] == [1]
    written = [step.file for step in found if step.kind != "sh"]
    assert written[0] == "shop.py"
    assert len(written) == 5
