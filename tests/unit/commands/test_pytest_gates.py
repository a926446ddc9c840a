"""A gate run by pytest looks at its target first, as `stormgate gate` does; what is wrong is each
test's failure, with its fix, and nothing was loaded or broken.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from stormgate.commands.documents import lay_out
from stormgate.pytest_plugin import gate_argv


class Config:
    def __init__(self, *, flag: bool, ini: bool) -> None:
        self._flag, self._ini = flag, ini

    def getoption(self, name: str) -> bool:
        assert name == "--stormgate-no-check"
        return self._flag

    def getini(self, name: str) -> bool:
        assert name == "stormgate_check"
        return self._ini


@pytest.mark.parametrize(
    ("flag", "ini", "looks"),
    [(False, True, True), (True, True, False), (False, False, False), (True, False, False)],
)
def test_a_flag_or_the_ini_file_leaves_the_look_out(flag: bool, ini: bool, looks: bool) -> None:
    argv = gate_argv(Path("g.yaml"), Path("r"), Config(flag=flag, ini=ini))  # type: ignore[arg-type]
    assert argv[2:7] == ["stormgate.cli", "gate", "g.yaml", "--reports", "r"]
    assert ("--no-check" not in argv) == looks


def test_what_is_wrong_with_the_target_fails_every_test_with_its_fix(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    lay_out(tmp_path, "shop")
    target = tmp_path / "targets" / "shop.yaml"
    target.write_text(target.read_text().replace("8080", port))
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "slas/release.yaml"]
    if not any(point.name == "stormgate" for point in entry_points(group="pytest11")):
        argv += ["-p", "stormgate.pytest_plugin"]
    ran = subprocess.run(
        [*argv, "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XDG_STATE_HOME": str(tmp_path / "state"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "wrong  edge everyone -> home" in ran.stdout, ran.stdout
    assert "refused" in ran.stdout
    assert "fix: " in ran.stdout
    assert not list((tmp_path / "reports").glob("2*"))
