"""The second service runs once for all tests of a module, wired through its own Toxiproxy."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.live.second.second_suite import lay_out, stand, stormgate


@dataclass(frozen=True)
class Second:
    """`run` is where the service keeps its state, `suite` what `init` and the tutorial made for
    it, `cache` where eu's app has to look for its Valkey.
    """

    run: Path
    suite: Path
    cache: str


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    if shutil.which("nginx") is None:
        pytest.skip("there is no nginx on this machine")
    # The servers' user has to pass through, which a folder of pytest's does not let it.
    run = Path(tempfile.mkdtemp(prefix="stormgate-second-"))
    run.chmod(0o711)
    suite = tmp_path_factory.mktemp("second") / "bazaar"
    lay_out(suite, run)
    target = f"targets/{suite.name}.yaml"
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    try:
        wired = stormgate(
            suite, "wire", target, "--background", "--env-file", str(run / "wire.env")
        )
        assert wired.returncode == 0, wired.stderr
        name, _, cache = (run / "wire.env").read_text().strip().partition("=")
        assert name == "EU_CACHE"
        stand("up", run, EU_CACHE=cache)
        yield Second(run, suite, cache)
    finally:
        stand("down", run)
        stormgate(suite, "wire", target, "--stop")
        shutil.rmtree(run, ignore_errors=True)
        if before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = before
