"""Which components a fault is for. Pure: the live roles and the seed are passed in."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from stormgate.faults.errors import EmptySelection
from stormgate.model import Component


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """All that is given must match. `name` may hold * and ?; `where` compares attributes; `role` is
    the live one.

    `share`: "all", "one of", "half of", a count, or "25%". A share of something is never nothing:
    at least one is taken.
    """

    name: str | None = None
    kind: str | None = None
    region: str | None = None
    role: str | None = None
    share: str | int = "all"
    where: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, given: str | Mapping[str, Any] | Selector) -> Selector:
        """From an experiment: a component's name, or a mapping of the fields above. Raises
        EmptySelection on unknown fields.
        """
        if isinstance(given, Selector):
            return given
        if isinstance(given, str):
            return cls(name=given)
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown or not given:
            raise EmptySelection(
                f"a selection has {', '.join(sorted(known))}; not "
                f"{', '.join(unknown) or 'nothing at all'}"
            )
        return cls(**given)

    def __str__(self) -> str:
        given = [
            f"{item.name}={getattr(self, item.name)!r}"
            for item in fields(self)
            if getattr(self, item.name) not in (None, "all", {})
        ]
        return ", ".join(given) or "everything"


def select(
    components: Iterable[Component],
    selector: Selector,
    *,
    seed: str,
    roles: Mapping[str, str | None] | None = None,
) -> tuple[Component, ...]:
    """The components the selector means, by name. The same seed takes the same share of the same
    candidates.

    `roles` are the live roles by component name. Raises EmptySelection, saying which condition left
    nothing.
    """
    remaining = sorted(components, key=lambda component: component.name)
    for what, keep in _conditions(selector, roles or {}):
        kept = [component for component in remaining if keep(component)]
        if not kept:
            names = ", ".join(component.name for component in remaining[:12]) or "nothing"
            raise EmptySelection(
                f"no component has {what}; before that condition there were: {names}"
            )
        remaining = kept
    if not remaining:
        raise EmptySelection("the target has no components")
    return tuple(take(remaining, selector.share, seed=seed))


def take(candidates: Sequence[Component], share: str | int, *, seed: str) -> list[Component]:
    """That share of the candidates, drawn with the seed, in their order. Raises EmptySelection for
    a share that means nothing.
    """
    count = share_count(share, len(candidates))
    if count == len(candidates):
        return list(candidates)
    # Not hash(): it differs from process to process.
    key = "\n".join([seed, str(share), *(component.name for component in candidates)])
    generator = random.Random(hashlib.sha256(key.encode()).digest())  # noqa: S311 - a repeatable draw, not a secret
    drawn = {component.name for component in generator.sample(list(candidates), count)}
    return [component for component in candidates if component.name in drawn]


def share_count(share: str | int, total: int) -> int:
    """How many of `total` a share is: at least one, at most all; halves and percentages are rounded
    up.
    """
    if isinstance(share, bool):
        raise EmptySelection(
            f"share {share!r} is not one of all, one of, half of, a count or a percentage"
        )
    text = str(share).strip().lower()
    if text == "all":
        return total
    if text in {"one of", "one"}:
        return 1
    if text in {"half of", "half"}:
        return max(1, math.ceil(total / 2))
    number, is_percentage = text.removesuffix("%").strip(), text.endswith("%")
    try:
        value = float(number) if is_percentage else int(number)
    except ValueError:
        raise EmptySelection(
            f"share {share!r} is not one of all, one of, half of, a count or a percentage"
        ) from None
    if is_percentage:
        if not 0 < value <= 100:
            raise EmptySelection(f"share {share!r} must be above 0% and at most 100%")
        return max(1, math.ceil(total * value / 100 - 1e-9))
    if not 1 <= value <= total:
        raise EmptySelection(f"share {share!r}: there are {total} to choose from")
    return int(value)


def _conditions(selector: Selector, roles: Mapping[str, str | None]) -> list[tuple[str, Any]]:
    conditions: list[tuple[str, Any]] = []
    if selector.kind is not None:
        conditions.append((f"kind {selector.kind!r}", lambda c: c.kind == selector.kind))
    if selector.region is not None:
        conditions.append((f"region {selector.region!r}", lambda c: c.region == selector.region))
    for key, value in selector.where.items():
        # Bound now: a closure over the loop's variables would test every pair with the last one.
        conditions.append(
            (
                f"attribute {key}={value!r}",
                lambda c, key=key, value=value: c.attributes.get(key) == str(value),
            )
        )
    if selector.name is not None:
        conditions.append((f"name {selector.name!r}", lambda c: _named(c.name, str(selector.name))))
    if selector.role is not None:
        conditions.append(
            (f"the live role {selector.role!r}", lambda c: roles.get(c.name) == selector.role)
        )
    return conditions


def _named(name: str, pattern: str) -> bool:
    # A link's name may hold brackets one day; only * and ? are wildcards here.
    return name == pattern or fnmatchcase(name, pattern.replace("[", "[[]"))
