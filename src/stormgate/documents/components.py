"""Which components a target has before it runs, and which of them an action's arguments select."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stormgate import model
from stormgate.documents.problems import nearest

# Arguments of actions that name components; the others say how (mode, latency, seed, ...).
NAMING = (
    "region",
    "component",
    "components",
    "edge",
    "service",
    "cache",
    "database",
    "link",
    "name",
    "names",
    "source",
    "destination",
)
# Arguments that choose among components at run time, by the roles they have then.
CHOOSING = ("kind", "share", "count", "shard", "role", "attributes", "select", "where", "one_of")


class Components:
    """The names a target's components will have: those written down, or those the lab gives its own."""

    def __init__(self, target: model.Target) -> None:
        self._target = target
        self.regions = [region.name for region in target.regions]
        self.names = [component.name for component in target.components]
        self.open = False
        options = (target.provision or {}).get("lab")
        if isinstance(options, Mapping):
            self.names += self._of_lab(options)
            self.open = True

    def _of_lab(self, options: Mapping[str, Any]) -> list[str]:
        names = list(self.regions)
        names += [f"{region}/{kind}" for region in self.regions for kind in ("edge", "service", "cache")]
        shards = options.get("shards")
        for shard in shards if isinstance(shards, list) else []:
            if isinstance(shard, Mapping):
                names += [f"{shard.get(role)}/db-{shard.get('name')}" for role in ("primary", "standby") if shard.get(role)]
        return [*names, "steward"]

    def problem(self, name: str, argument: str) -> tuple[str, str] | None:
        """What is wrong with selecting `name`, and what would be right; None where it is or may be there."""
        if argument == "region":
            if name in self.regions or name in self.names:
                return None
            return f"unknown region {name!r}", nearest(name, self.regions, what="regions")
        if name in self.names:
            return None
        # The lab's links get their names when it starts; so do shards it was not told of here.
        if self.open and (name.startswith("link:") or re.fullmatch(r"[^/]+/db-[^/]+", name)):
            region = name.split("/", maxsplit=1)[0].removeprefix("link:").split("->")[0]
            if name.startswith("link:") or region in self.regions:
                return None
        return f"the target has no component {name!r}", nearest(name, self.names, what="components")

    def region_of(self, name: str) -> str | None:
        """The region a component stands in; None for a link between two, or for one that is in none."""
        for component in self._target.components:
            if component.name == name and component.region:
                return component.region
        head = name.split("/", maxsplit=1)[0]
        return head if head in self.regions else None


def selected(func: str, arguments: Mapping[str, Any]) -> tuple[list[tuple[str, str]], bool]:
    """The (argument, component) pairs an action's resolved arguments name, and whether more is chosen only at run time."""
    names: list[tuple[str, str]] = []
    unresolved = any(arguments.get(key) is not None for key in CHOOSING)
    for key in NAMING:
        if key not in arguments:
            continue
        value = arguments[key]
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                names.append((key, one))
            else:
                unresolved = True
    return names, unresolved or not names
