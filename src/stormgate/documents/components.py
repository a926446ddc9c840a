"""Which components a target has before it runs, and which of them an experiment's arguments
select.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from stormgate.documents.problems import nearest
from stormgate.faults.errors import EmptySelection
from stormgate.faults.selection import Selector, select, share_count
from stormgate.model import Component, Target

SELECTOR_KEYS = tuple(item.name for item in fields(Selector))
# What the lab has beside its processes where it is reached by the API of AWS, one each in a region.
_OF_AWS = {
    "subnet": "link",
    "targets": "targets",
    "fis": "experiment",
    "cache": "replicas",
    "check": "check",
}
# Arguments of the actions that say what is broken; the others say how.
CHOOSING = ("component", "region", "regions", "sets", "shape")


@dataclass(slots=True)
class Selection:
    """What one argument selects: names that are known, what is wrong, and whether more is decided
    only at run time.
    """

    names: set[str] = field(default_factory=set)
    problems: list[tuple[str, str]] = field(default_factory=list)
    later: bool = False


class Components:
    """The components a target will have: those written down, and those the lab is known to
    start.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.regions = [region.name for region in target.regions]
        self.known = list(target.components)
        options = (target.provision or {}).get("lab")
        self.lab = isinstance(options, Mapping)
        if isinstance(options, Mapping):
            self.known += _of_lab(self.regions, options)

    @property
    def names(self) -> list[str]:
        """Every name known before the run."""
        return [component.name for component in self.known]

    def regions_of(self, name: str, depth: int = 8) -> set[str]:
        """The regions that breaking a component touches: its own, those at a link's two ends, those
        of a group's parts.
        """
        if name in self.regions:
            return {name}
        found = next((c for c in self.known if c.name == name), None)
        if found is None or depth == 0:
            return set()
        ends = [
            found.attributes[end] for end in ("source", "destination") if end in found.attributes
        ]
        touched = {
            region
            for other in (*ends, *found.parts)
            for region in self.regions_of(other, depth - 1)
        }
        return touched | ({found.region} if found.region else set())

    def selected(self, argument: str, value: Any) -> Selection:
        """What an action's argument selects in this target."""
        found = Selection()
        if value is None:
            found.later = True
        elif value in ([], ""):
            found.problems.append((f"{value!r} selects nothing", "name what is to be broken"))
        elif argument in ("region", "regions", "sets"):
            for region in _flat(value):
                if region in self.regions:
                    found.names.add(region)
                else:
                    found.problems.append(
                        (
                            f"unknown region {region!r}",
                            nearest(region, self.regions, what="regions"),
                        )
                    )
        elif argument == "shape":
            found.names.update(self.regions)
        else:
            for one in value if isinstance(value, list) else [value]:
                self._select(one, found)
        return found

    def _select(self, given: Any, found: Selection) -> None:
        if isinstance(given, Mapping):
            for key in given:
                if key not in SELECTOR_KEYS:
                    found.problems.append(
                        (f"unknown key {key!r} in a selection", nearest(str(key), SELECTOR_KEYS))
                    )
            if found.problems or any(value is None for value in given.values()):
                found.later = True
                return
        elif not isinstance(given, str):
            found.problems.append(
                (f"{given!r} selects nothing", "write a component's name, or a selection of them")
            )
            return
        try:
            selector = Selector.of(given)
            share_count(selector.share, 10**9)
            # Which of them hold the role, and which are drawn, is decided when it runs; that there
            # are any is decided here.
            drawn = selector.role is not None or str(selector.share) != "all"
            still = Selector(
                name=selector.name, kind=selector.kind, region=selector.region, where=selector.where
            )
            found.names.update(c.name for c in select(self.known, still, seed=""))
            found.later = found.later or drawn
        except EmptySelection as error:
            if self._only_in_the_lab(given):
                found.later = True
                return
            fix = (
                nearest(given, self.names, what="components")
                if isinstance(given, str)
                else "select what the target has"
            )
            message = (
                f"the target has no component {given!r}" if isinstance(given, str) else str(error)
            )
            found.problems.append((message, fix))
        except (TypeError, AttributeError):
            found.problems.append(
                (f"{given!r} is not a selection", f"a selection has {', '.join(SELECTOR_KEYS)}")
            )

    def _only_in_the_lab(self, given: Any) -> bool:
        """Whether it may name one of the lab's links: they get their names when it starts."""
        if not self.lab:
            return False
        if isinstance(given, str):
            return given.startswith("link:")
        return given.get("kind") == "link" or str(given.get("name", "")).startswith("link:")


def _of_lab(regions: list[str], options: Mapping[str, Any]) -> Iterator[Component]:
    for region in regions:
        yield Component(name=region, kind="region", backend="group", region=region)
        for kind in ("edge", "service", "cache"):
            yield Component(name=f"{region}/{kind}", kind=kind, backend="process", region=region)
    shards = options.get("shards")
    for shard in shards if isinstance(shards, list) else []:
        for place in ("primary", "standby"):
            if isinstance(shard, Mapping) and isinstance(shard.get(place), str):
                name, region = str(shard.get("name")), str(shard[place])
                yield Component(
                    name=f"{region}/db-{name}",
                    kind="database",
                    backend="process",
                    region=region,
                    attributes={"shard": name},
                )
    yield from _models(regions, options.get("inference"))
    yield Component(name="steward", kind="steward", backend="process")
    if options.get("awsApi") is True:
        for region in regions:
            for name, kind in _OF_AWS.items():
                yield Component(name=f"{name}:{region}", kind=kind, backend="aws")


def _models(regions: list[str], inference: Any) -> Iterator[Component]:
    """The model servers, small ones in every region."""
    asked = {"edge": regions, **inference} if isinstance(inference, Mapping) else {}
    for tier in ("edge", "regional", "core"):
        for region in _flat(asked.get(tier, [])):
            for fleet in _flat(asked.get("fleets", [])):
                yield Component(
                    name=f"{region}/model-{tier}-{fleet}",
                    kind="model",
                    backend="process",
                    region=region,
                    attributes={"tier": tier, "fleet": fleet},
                )


def _flat(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for one in value for name in _flat(one)]
    return [str(value)]
