"""A service of the lab lives until it is told to end; a loop of it that ends says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stormgate.lab.services import serving
from stormgate.lab.services.inference.model import ModelProgram


async def nothing() -> None:
    """A loop with nothing to do."""


def test_a_loop_that_comes_to_an_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def left(*_: Any) -> None:
        """As it is: the collector is this process's."""

    still = SimpleNamespace(collect=left, freeze=left, set_threshold=left)
    monkeypatch.setattr(serving, "gc", still)
    door: Any = None
    with pytest.raises(RuntimeError, match=r"nothing.* came to an end"):
        asyncio.run(serving.live([nothing()], door))


def test_a_model_looks_for_its_reservation_only_where_it_may_have_one(tmp_path: Path) -> None:
    facts = {"name": "here/model", "region": "here", "tier": "edge", "fleet": "gpu"}
    assert ModelProgram({**facts, "reserved": None}).loops() == []
    path = tmp_path / "reserved"
    path.write_text("0")
    model = ModelProgram({**facts, "reserved": str(path)})
    (looking,) = model.loops()
    looking.close()
    assert model.most == 0
