"""Which load engine runs."""

import pytest

from stormgate.system import engine
from stormgate.system.engine import EngineError, chosen_engine, engine_line


def test_python_runs_unless_somebody_asks_for_the_core(monkeypatch):
    monkeypatch.setattr(engine, "has_core", lambda: True)
    assert chosen_engine(None, {}) == chosen_engine(None, {"STORMGATE_ENGINE": ""}) == "python"
    assert chosen_engine(None, {"STORMGATE_ENGINE": "core"}) == "core"
    assert chosen_engine("core", {}) == "core"
    assert chosen_engine("core", {"STORMGATE_ENGINE": "python"}) == "python"
    assert engine_line({"STORMGATE_ENGINE": "core"}).startswith("load engine: core")


def test_what_is_not_there_is_never_replaced_unsaid(monkeypatch):
    monkeypatch.setattr(engine, "has_core", lambda: False)
    with pytest.raises(EngineError, match="not built here"):
        chosen_engine("core", {})
    with pytest.raises(EngineError, match="'core' or 'python'"):
        chosen_engine(None, {"STORMGATE_ENGINE": "fast"})
    assert "not built" in engine_line({"STORMGATE_ENGINE": "core"})
