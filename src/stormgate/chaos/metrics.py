"""Probes of what services say of themselves: `module: stormgate.chaos.metrics`. For `readings` and
hypotheses alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stormgate.faults.context import current
from stormgate.faults.errors import CannotBreak
from stormgate.faults.inject import in_parallel
from stormgate.faults.selection import Selector, select
from stormgate.model import Component
from stormgate.net.allow import AllowList
from stormgate.net.exposition import summed
from stormgate.net.fetch import fetch

_TIMEOUT_S = 2.0
_MOST_BYTES = 4 << 20


def metric(
    name: str,
    component: str | Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    path: str = "/metrics",
    timeout_s: float = _TIMEOUT_S,
) -> float:
    """The sum of a Prometheus metric's series with these labels, over every component that is
    selected, each asked at its `observe` address.

    Raises where one does not answer, or none of a component's series has that name and labels: a
    part of a sum is no sum, and absent is not 0.
    """
    target = current().target
    allow = AllowList(target.allow)
    chosen = select(target.components, Selector.of(component), seed="")

    def ask(one: Component) -> float:
        if one.observe is None:
            raise CannotBreak(f"{one.name} has no `observe`, so nobody can ask it for {path}")
        url = f"http://{one.observe.address}{path}"
        try:
            text = fetch(url, allow, timeout_s, limit=_MOST_BYTES).decode()
            found = summed(text, name, labels or {})
        except (OSError, ValueError) as error:
            raise ValueError(f"{one.name}: {error}") from error
        if found is None:
            raise ValueError(f"{one.name} says nothing of {name} {dict(labels or {})}")
        return found

    return math.fsum(in_parallel(ask, chosen))
