"""The incident of docs/reproduce.md, as it stands there: it is read, and exported in every form."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from stormgate.commands.reproduce.command import command
from stormgate.reproduce.incident.read import read_incident

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reproduce.md"
TARGET = """\
apiVersion: stormgate.dev/v1
kind: Target
metadata: {name: local}
spec:
  regions: [{name: eu, latitude: 50, longitude: 8}]
  populations:
    - {name: all, share: 100%, latitude: 50, longitude: 8, edges: [eu/web], links: {eu/web: "http://127.0.0.1:9001"}}
  components:
    - {name: eu/web, kind: service, region: eu, backend: process, handle: {pidFile: /tmp/none.pid, start: ["true"]}, observe: {protocol: http, address: "127.0.0.1:9001", path: /}}
    - {name: eu/cache, kind: cache, region: eu, backend: process, handle: {pidFile: /tmp/none.pid, start: ["true"]}, observe: {protocol: tcp, address: "127.0.0.1:9002"}}
    - {name: eu/db, kind: database, region: eu, backend: process, handle: {pidFile: /tmp/none.pid, start: ["true"]}, observe: {protocol: tcp, address: "127.0.0.1:9003"}}
  toxiproxy: http://127.0.0.1:8474
  links:
    - {from: eu/web, to: eu/cache, upstream: "127.0.0.1:9002", listen: "127.0.0.1:9102", proxy: cache}
    - {from: eu/web, to: eu/db, upstream: "127.0.0.1:9003", listen: "127.0.0.1:9103", proxy: db}
"""  # noqa: E501


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The suite of the page: its incident, a target, and a dashboard's series of 60 s."""
    (incident,) = re.findall(
        r"```yaml\n(# incidents/eu-slow\.yaml\n.*?)```", PAGE.read_text(), re.S
    )
    (tmp_path / "incidents").mkdir()
    (tmp_path / "targets").mkdir()
    (tmp_path / "incidents" / "eu-slow.yaml").write_text(incident)
    (tmp_path / "targets" / "local.yaml").write_text(TARGET)
    rows = [f"2026-03-01T14:05:{s:02d}Z,{12 if s < 20 else 92}" for s in range(60)]
    (tmp_path / "incidents" / "db-rtt.csv").write_text("\n".join(["time,p50_ms", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_incident_of_the_page_is_read_as_it_says(place: Path) -> None:
    found = read_incident(Path("incidents/eu-slow.yaml"))
    told = [(s.start_s, s.end_s, s.where, s.mode) for s in found.schedule.segments]
    assert [one for one in told if one[3] == "crash"] == [
        (at, min(at + 2, 50), "eu/cache", "crash") for at in (20, 27, 34, 41, 48)
    ]
    assert (10, 50, "link:eu/web->eu/cache", "slow") in told
    (database,) = [s for s in found.schedule.segments if s.where == "link:eu/web->eu/db"]
    assert (database.start_s, database.mode) == (20, "slow")
    # 92 ms less the 12 that were there before.
    assert database.params["latency_ms"] == pytest.approx(80, rel=0.05)


@pytest.mark.parametrize("form", ["toxiproxy-cli", "chaostoolkit", "json"])
def test_it_is_exported_as_the_page_says(place: Path, form: str) -> None:
    words = ["incidents/eu-slow.yaml", "--export", form, "--out", f"made.{form}"]
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    made = (place / f"made.{form}").read_text()
    assert "cache" in made
    if form == "json":
        assert json.loads(made)
    if form == "toxiproxy-cli":
        # What a format cannot say stands in it and is told.
        assert "crash" in made
        assert "crash" in done.output
