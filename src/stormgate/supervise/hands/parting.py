"""Cutting regions off from each other by hand: which links that takes, and what it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stormgate.faults import expansion
from stormgate.faults.errors import CannotBreak, EmptySelection
from stormgate.model import Component, Target

PARTITION = "partition"
CUT = "blackhole"


@dataclass(frozen=True, slots=True)
class Parting:
    """The links between `sets` of regions, each of them broken in the mode `cut`."""

    sets: tuple[tuple[str, ...], ...]
    cut: str

    @classmethod
    def of(cls, target: Target, words: Sequence[Any], params: Mapping[str, Any]) -> Parting:
        """From `eu-west,eu-north us-east`: sets of regions; a single one is cut off from all
        others. Raises EmptySelection, CannotBreak.
        """
        if foreign := sorted(set(params) - {"cut"}):
            raise CannotBreak(f"a partition takes --cut alone, not --{foreign[0]}")
        cut = str(params.get("cut", CUT))
        if cut not in expansion.LINK_MODES:
            known = ", ".join(sorted(expansion.LINK_MODES))
            raise CannotBreak(f"--cut {cut}: a link is broken by one of {known}")
        if not all(isinstance(word, str) for word in words):
            raise EmptySelection("a partition is between regions, by their names")
        sets = [tuple(dict.fromkeys(filter(None, word.split(",")))) for word in words]
        if len(sets) == 1:
            sets.append(tuple(r.name for r in target.regions if r.name not in sets[0]))
        return cls(tuple(sets), cut)

    @property
    def name(self) -> str:
        """As one fault, the name that an experiment's has, too."""
        return f"{PARTITION} " + " | ".join(" ".join(sorted(group)) for group in self.sets)

    def links(self, target: Target) -> list[Component]:
        """What has to be broken. Raises EmptySelection."""
        return list(expansion.cut_between(target, self.sets))
