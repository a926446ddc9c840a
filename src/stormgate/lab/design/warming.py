"""Which shared answers edges fetch before they are asked for, and when: what the target asks for.
Pure.
"""

from __future__ import annotations

import math
from typing import Any

from stormgate.lab.errors import LabError
from stormgate.model import Target

_KEYS = {"atS", "aheadS", "paths"}


def warming_of(target: Target) -> dict[str, Any] | None:
    """What `provision.lab.warmer` asks for, as an edge is told it, or None. Raises LabError for
    what cannot be.
    """
    asked = ((target.provision or {}).get("lab") or {}).get("warmer")
    if asked is None:
        return None
    try:
        at_s, ahead_s, paths = (asked[key] for key in ("atS", "aheadS", "paths"))
        right = set(asked) == _KEYS and _is_time(at_s) and _is_time(ahead_s) and ahead_s <= at_s
        right = right and bool(paths) and all(one.startswith("/") for one in paths)
    except (TypeError, KeyError, AttributeError):
        right = False
    if not right:
        raise LabError(
            f"target {target.name!r}: provision.lab.warmer takes atS, aheadS (up to atS) and paths "
            f"(a list of them, each from its /), not {asked!r}"
        )
    return {"at_s": float(at_s), "ahead_s": float(ahead_s), "paths": list(paths)}


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
