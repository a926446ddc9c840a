"""A fault's configuration reaches its experiment by the plan, not by words that `ps` shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stormgate.chaos.run import _planned
from stormgate.model import Fault
from stormgate.supervise.children import chaos_argv


def test_a_configuration_is_read_from_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORMGATE_PLAN", raising=False)
    assert _planned("a") == {}
    faults = [{"name": "a", "configuration": {"pin": "4711-secret"}}, {"name": "b"}]
    (tmp_path / "plan.json").write_text(json.dumps({"faults": faults}))
    monkeypatch.setenv("STORMGATE_PLAN", str(tmp_path / "plan.json"))
    assert _planned("a") == {"pin": "4711-secret"}
    assert _planned("b") == _planned("c") == {}


def test_it_is_among_no_process_s_words() -> None:
    fault = Fault(name="a", experiment="x.yaml", recovery_s=1, configuration={"pin": "4711-secret"})
    assert "4711-secret" not in " ".join(chaos_argv(fault, Path("/")))
