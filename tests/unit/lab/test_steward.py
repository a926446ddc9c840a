"""What the steward keeps over a restart of its own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from stormgate.lab.design.settings import LabSettings
from stormgate.lab.services.steward import Steward
from stormgate.net.httpserver import HttpRequest, HttpResponse


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "cluster.json").write_text("{}")
    edges = ["east/edge", "west/edge"]
    return {
        "settings": LabSettings().to_json(),
        "control": "nobody",
        "state": str(tmp_path / "cluster.json"),
        "homes": {},
        "orders": {"london": edges},
        "databases": {},
        "ways": [
            {"population": "london", "edge": one, "host": "127.0.0.1", "port": 1} for one in edges
        ],
        "watched": [],
    }


def put(steward: Steward, out: object) -> HttpResponse:
    request = HttpRequest("PUT", "/targets", {}, json.dumps({"out": out}).encode())
    return asyncio.run(steward.handle(request))


def steered(steward: Steward) -> list[str]:
    """Where London is led when all edges live."""
    for way in steward.ways.values():
        way.health.up = True
    asyncio.run(steward.steer())
    return steward.table["london"]


def test_an_edge_that_is_out_of_service_is_out_of_a_restarted_steward_s_too(config) -> None:
    assert steered(Steward(config)) == ["east/edge", "west/edge"]
    assert put(Steward(config), ["east/edge"]).status == 200
    again = Steward(config)
    assert steered(again) == ["west/edge"]
    assert put(again, []).status == 200
    assert steered(Steward(config)) == ["east/edge", "west/edge"]


def test_what_is_refused_is_not_kept(config) -> None:
    assert put(Steward(config), ["east/edge"]).status == 200
    assert put(Steward(config), ["nowhere/edge"]).status == 404
    assert Steward(config).out == {"east/edge"}
