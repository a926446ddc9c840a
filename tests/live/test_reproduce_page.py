"""docs/how-to/incident.md does what it says, exactly as it is written, from an empty folder."""

import json
import os
import sys
from pathlib import Path

import pytest
from tests.live.tutorial import Reader

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(400)]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "incident.md"


def test_an_incident_becomes_a_failing_service_and_a_mended_one_passes(tmp_path):
    place = tmp_path / "empty"
    place.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        **{name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if name in os.environ},
    }
    with Reader(place, environment) as reader:
        try:
            reader.follow(PAGE)
        finally:
            reader.run(
                "python3 basket.py down; stormgate wire suite/targets/local.yaml --stop; true", 0
            )
    found = [
        json.loads((folder / "verdict.json").read_text())
        for folder in sorted((place / "suite" / "reports").glob("2*"))
        if (folder / "verdict.json").exists()
    ]
    assert [verdict["verdict"] for verdict in found] == ["FAIL", "PASS"]
    assert [one["verdict"] for one in found[0]["objectives"]] == ["FAIL"]
    said = "\n".join(reader.outputs)
    assert "10 samples in 3 steps, none off by more than 16 ms" in said
    assert "not in it: loss of 0.5 % on link:web->cache" in said
    assert (place / "slow-cache.sh").read_text().count("toxiproxy-cli --host") >= 4
