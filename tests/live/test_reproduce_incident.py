"""`stormgate reproduce incident.yaml` in processes of its own: played, held, killed, exported; with
the real Toxiproxy and the embedded one.
"""

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.chaos_fixture import wait_until
from tests.live.reproduce_world import LINK, Way, toxiproxy_cli

from stormgate.documents import load_target
from stormgate.model import to_json

pytestmark = pytest.mark.live

INCIDENT = """\
apiVersion: stormgate.dev/v1
kind: Incident
metadata: {name: slow-then-gone}
spec:
  target: way.yaml
  seen:
    - {link: web->cache, from: 0s, for: 600ms, latency: 40ms}
    - {link: web->cache, from: 600ms, for: 800ms, latency: 120ms, loss: 1%}
    - {link: web->cache, from: 1500ms, for: 700ms, refused: true}
"""


@contextlib.contextmanager
def standing(kind: str, folder: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "xdg"))
        found = Way(kind, folder)
        (folder / "i.yaml").write_text(INCIDENT)
        yield found
        found.close()


@pytest.fixture(scope="module")
def way(tmp_path_factory):
    with standing("embedded", tmp_path_factory.mktemp("way")) as found:
        yield found


@pytest.fixture(params=["real", "embedded"])
def ways(request, tmp_path):
    with standing(request.param, tmp_path) as found:
        yield found


def clean(way: Way) -> bool:
    return way.toxics == {} and way.client.get("cache").enabled


def test_it_is_played_told_and_taken_back(way):
    code, out, err = way.run("reproduce", "i.yaml", "--reports", "played")
    assert "not in it: loss of 1 % on link:web->cache" in err
    assert "5 changes" in out
    assert "everything is taken back" in out
    # A busy machine may be late; then it says so, and nothing else is wrong.
    told = [line for line in err.splitlines() if line.startswith("not as written")]
    assert (code, told) == (0, []) or (code == 3 and all("ms late" in one for one in told)), err
    assert clean(way)
    folder = next((way.folder / "played").iterdir())
    moves = [json.loads(line) for line in (folder / "played.ndjson").read_text().splitlines()]
    assert [one["at_s"] for one in moves if "at_s" in one] == [0, 0.6, 1.4, 1.5, 2.2]
    assert json.loads((folder / "played.json").read_text())["moves"] == 5


def test_hold_stops_at_the_worst_moment_until_ctrl_c(way):
    child = way.begin("reproduce", "i.yaml", "--hold", "--reports", "held")
    lines = []
    for line in child.stdout:
        lines.append(line.strip())
        if "ctrl-C takes everything back" in line:
            break
    assert lines[-1] == "ctrl-C takes everything back", child.stderr.read()
    assert "holding at 1.5 s, the worst moment:" in lines
    assert f"refuse {LINK}" in lines
    assert any(line.startswith(f"CACHE=127.0.0.1:{way.listen} (link:web->cache") for line in lines)
    assert not way.client.get("cache").enabled
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode in (0, 3)
    assert clean(way)


def test_what_a_kill_9_leaves_restore_takes_back(way):
    child = way.begin("reproduce", "i.yaml", "--loop", "--reports", "killed")
    wait_until(lambda: way.toxics)
    child.kill()
    child.communicate()
    assert not clean(way)
    refused, _, err = way.run("reproduce", "i.yaml", "--reports", "killed")
    assert (refused, "still carries faults" in err) == (2, True), err
    code, out, err = way.run("restore")
    assert code == 0, (out, err)
    assert clean(way)


@pytest.mark.slow
def test_exported_for_toxiproxy_cli_it_does_the_same(ways):
    way, cli = ways, toxiproxy_cli()
    code, text, err = way.run("reproduce", "i.yaml", "--export", "toxiproxy-cli")
    assert (code, "loss of 1 %" in text, "loss of 1 %" in err) == (0, True, True)
    script, shim, log = way.folder / "play.sh", way.folder / "toxiproxy-cli", way.folder / "log"
    script.write_text(text)
    # Each command goes to the real one, and what the proxy then looks like is written down.
    shim.write_text(
        f'#!/bin/sh\n{cli} "$@"; code=$?\n'
        f'[ "$3" = toxic ] && {cli} "$1" "$2" inspect cache >> {log}\nexit $code\n'
    )
    for path in (script, shim):
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    log.unlink(missing_ok=True)
    env = {**os.environ, "PATH": f"{way.folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        [script], env=env, capture_output=True, text=True, timeout=90, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"latency=(\d+)", log.read_text())[:3] == ["20", "20", "20"]
    assert log.read_text().count("latency=60") >= 2
    assert done.stdout.count("is now disabled") == done.stdout.count("is now enabled") == 1
    assert clean(way)
    child = subprocess.Popen([script], env=env, stdout=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: way.toxics)
    os.killpg(child.pid, signal.SIGTERM)
    child.wait(30)
    assert clean(way)


def test_exported_as_json_it_is_played_again_the_same(way):
    code, _, err = way.run("reproduce", "i.yaml", "--export", "json", "--out", "s.json")
    assert code == 0, err
    _, out, err = way.run("reproduce", "s.json", "--target", "way.yaml", "--reports", "json")
    assert "5 changes" in out, err
    text = next((way.folder / "json").iterdir()).joinpath("played.ndjson").read_text()
    params = [json.loads(line).get("params") for line in text.splitlines()]
    assert [p.get("latency_ms") for p in params if p is not None] == [40, 120, None]
    assert clean(way)


@pytest.mark.slow
def test_exported_for_chaos_toolkit_it_runs_as_any_experiment(ways):
    way = ways
    code, _, err = way.run("reproduce", "i.yaml", "--export", "chaostoolkit", "--out", "e.yaml")
    assert code == 0, err
    (way.folder / "target.json").write_text(json.dumps(to_json(load_target(way.path))))
    chaos = Path(sys.executable).with_name("chaos")
    env = {**os.environ, "STORMGATE_TARGET": "target.json"}
    done = subprocess.run(
        [chaos, "run", "e.yaml"],
        cwd=way.folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    journal = json.loads((way.folder / "journal.json").read_text())
    assert (journal["status"], journal["deviated"]) == ("completed", False), done.stderr
    assert all(one["status"] == "succeeded" for one in journal["run"]), journal["run"]
    assert clean(way)
