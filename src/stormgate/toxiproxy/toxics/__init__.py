"""The toxics, one per file; a file dropped in here is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from stormgate.toxiproxy.toxics.base import ToxicType


def _discover() -> dict[str, type[ToxicType]]:
    found: dict[str, type[ToxicType]] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for item in vars(loaded).values():
            # Only what the file defines itself: the base class and imported toxics are not its own.
            own = (
                isinstance(item, type)
                and item.__module__ == loaded.__name__
                and module.name != "base"
            )
            if own and issubclass(item, ToxicType):
                found[item.type] = item
    return found


TOXICS: Mapping[str, type[ToxicType]] = _discover()
