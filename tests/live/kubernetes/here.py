"""The stand-in cluster of a test, with a target on it and a run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.kubernetes.standin import World, kubeconfig, serving

from stormgate.evidence.write import TIMELINE
from stormgate.faults import backends
from stormgate.faults.context import Context, make_context
from stormgate.faults.inject import inject
from stormgate.faults.ledger import open_entries
from stormgate.faults.undo import undo_all
from stormgate.model import Component, Observe, Target

ZONES = {"a": "eu-west", "b": "eu-west", "c": "us-east"}


@dataclass
class Here:
    world: World
    config: Path
    port: int
    folder: Path
    context: Context = field(init=False)

    @classmethod
    @contextmanager
    def made(cls, folder: Path) -> Iterator[Here]:
        world = World()
        for zone, region in ZONES.items():
            for number in (1, 2):
                world.node(f"node-{zone}{number}", f"zone-{zone}", region)
        world.workload("deployments", "web", 3)
        world.service("web", "web")
        with serving(world) as port:
            world.wait("web", 3)
            run = folder / "run"
            run.mkdir()
            here = cls(world, kubeconfig(folder / "config", port), port, run)
            here.target()
            yield here

    def target(self, *parts: Component) -> Target:
        target = Target(name="kube", components=parts)
        self.context = make_context(target, self.folder, fault="trial", seed=0)
        return target

    def part(self, name: str = "web", observe: Observe | None = None, **handle: Any) -> Component:
        given = {"context": "staging", "kubeconfig": str(self.config), **handle}
        given = {key: value for key, value in given.items() if value is not None}
        held = backends.get("kubernetes").handle.model_validate(given).model_dump()
        return Component(
            name=name, kind="service", backend="kubernetes", handle=held, observe=observe
        )

    def web(self, **more: Any) -> Component:
        return self.part(namespace="shop", deployment="web", **more)

    def break_(self, part: Component, mode: str, proof_s: float = 3.0, **params: Any) -> Any:
        self.target(part)
        return inject(self.context, [part], mode, params, proof_s=proof_s)

    def undo(self, deadline_s: float = 5.0) -> list[str]:
        return undo_all(self.context, deadline_s=deadline_s)

    def open(self) -> list[str]:
        return [entry.part.name for entry in open_entries(self.folder)]

    def rows(self, event: str) -> list[dict[str, Any]]:
        lines = (self.folder / TIMELINE).read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["event"] == event]

    def deployment(self) -> dict[str, Any]:
        return self.world.one("deployments", "shop", "web")

    def uids(self) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.world.pods_of("web")}

    def clean(self) -> None:
        """Nothing of ours is left on anything."""
        left = [
            (plural, name)
            for (plural, _, name), body in self.world.objects.items()
            if "stormgate" in json.dumps(body)
        ]
        assert left == []
