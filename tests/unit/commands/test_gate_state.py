"""A gate whose state cannot be kept, or whose target carries faults, ends before it starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from stormgate.cli import stormgate
from stormgate.commands import gate as gates
from stormgate.documents import load_gate
from stormgate.faults import pointers

ROOT = Path(__file__).resolve().parents[3]
GATE = str(ROOT / "slas" / "chenu-release.yaml")


def gate(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(stormgate, ["gate", *arguments])
    return done.exit_code, done.output


def test_a_state_folder_that_cannot_be_written_is_found_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    code, said = gate(GATE, "--reports", str(tmp_path / "reports"))
    assert code != 0
    assert "fix: set XDG_STATE_HOME" in said
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("spoil", [False, True])
def test_a_target_of_which_nobody_can_tell_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    lab = load_gate(Path(GATE))
    shared = replace(lab, target=replace(lab.target, name="shared", provision=None))
    monkeypatch.setattr(gates, "load_plan", lambda *_, **__: shared)
    pointers.register("shared", tmp_path / "gone", ["1"])
    if spoil:
        [pointer] = pointers.pointers()
        pointer.path.write_text(json.dumps({"target": "shared"}))
    code, said = gate(GATE, "--reports", str(tmp_path / "reports"))
    assert code != 0
    assert "still carries faults" in said
    assert "stormgate restore" in said
    assert not (tmp_path / "reports").exists()
