"""A target of one's own for the kill matrix: small HTTP servers broken by signals, links through
Toxiproxy, and a switch broken by commands. None of it is the lab's.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from tests.live.chaos_fixture import world

from stormgate.model import Component, Target

EXPERIMENTS: dict[str, tuple[dict[str, Any], ...]] = {
    "crash": ({"component": "a/edge", "mode": "crash"},),
    "freeze": ({"component": "b/service", "mode": "freeze"},),
    "slow-link": ({"component": "link:a/edge->b/service", "mode": "slow", "latency_ms": 80},),
    "region": ({"component": "b", "mode": "blackhole"},),
    "switch": ({"component": "switch", "mode": "off"},),
    "several": (
        {"component": "switch", "mode": "off"},
        {"component": "link:b/edge->a/service", "mode": "refuse"},
        {"component": "a/edge", "mode": "crash"},
    ),
}
_ACTIONS = "stormgate.chaos.actions"
_SWITCH = """
import pathlib, sys
flag, step = pathlib.Path(sys.argv[1]), sys.argv[2]
if step == "apply":
    flag.touch()
elif step == "undo":
    flag.unlink(missing_ok=True)
sys.exit(0 if step != "observe" or flag.exists() else 1)
"""
_USERS = """
from stormgate.load import GeoUser, get

class Visitor(GeoUser):
    rate_per_s = 1

    def flow(self, session):
        yield get("/healthz", name="look", timeout_s=2)
"""


@dataclass
class OwnTarget:
    """It stands until the `with` ends. `flag` is there while the switch is broken."""

    target: Target
    toxiproxy_pid: int
    flag: Path

    @property
    def broken(self) -> str:
        """What is broken that the target itself cannot tell."""
        return "the switch is off" if self.flag.exists() else ""


@contextlib.contextmanager
def own_target(place: Path) -> Iterator[OwnTarget]:
    place.mkdir()
    flag, script = place / "flag", place / "switch.py"
    script.write_text(_SWITCH)

    def argv(step: str) -> list[str]:
        return [sys.executable, str(script), str(flag), step]

    switch = Component(
        name="switch",
        kind="switch",
        backend="command",
        handle={
            "apply": {"off": argv("apply")},
            "undo": {"off": argv("undo")},
            "observe": argv("observe"),
        },
    )
    with world(place) as made:
        target = replace(made.target, components=(*made.target.components, switch))
        yield OwnTarget(target, made.proxies.process.pid, flag)


def write_content(place: Path, experiment: str) -> None:
    """The content folders of a suite whose target this is: its users, and the one experiment."""
    for name in ("experiments", "loadtests"):
        (place / name).mkdir()
    (place / "loadtests" / "users.py").write_text(_USERS)
    breaking = [
        _action(f"break-{number}", "break_component", arguments)
        for number, arguments in enumerate(EXPERIMENTS[experiment])
    ]
    document = {
        "title": experiment,
        "description": experiment,
        "configuration": {"hold_s": 3},
        "controls": [
            {
                "name": "stormgate",
                "provider": {"type": "python", "module": "stormgate.chaos.control"},
            }
        ],
        "runtime": {"rollbacks": {"strategy": "always"}},
        "method": [*breaking, _action("hold", "hold", {"seconds": "${hold_s}"})],
        "rollbacks": [
            _action("undo", "undo", {}),
            _action("whole", "wait_until_whole", {"deadline_s": 60}),
        ],
    }
    (place / "experiments" / f"{experiment}.yaml").write_text(
        yaml.safe_dump(document, sort_keys=False)
    )


def _action(name: str, func: str, arguments: dict[str, Any]) -> dict[str, Any]:
    provider = {"type": "python", "module": _ACTIONS, "func": func, "arguments": arguments}
    return {"type": "action", "name": name, "provider": provider}
