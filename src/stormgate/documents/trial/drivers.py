"""Calls of chaostoolkit-aws that cannot do anything as they are written, though their signature
takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormgate.documents.trial.checking import Check
from stormgate.documents.yamlfile import Loc

_DRIVER = "chaosaws."
# An argument that has a default which AWS refuses.
_NEEDED = {
    "chaosaws.rds.actions.failover_db_cluster": (
        "target_db_instance_identifier",
        "name the reader that shall write, or use backend aws, service rds, which finds one",
    ),
}


def check_driver(
    module: str, func: str, arguments: Mapping[str, Any], loc: Loc, check: Check
) -> None:
    """Note what a call of a driver's action cannot do. `arguments` are resolved: None is known only
    when it runs. `loc` is the provider's place.
    """
    if not module.startswith(_DRIVER) or not module.endswith("actions"):
        return
    name, fix = _NEEDED.get(f"{module}.{func}", ("", ""))
    if name and name not in arguments:
        check.note(f"{func} without {name} is refused by AWS", fix, *loc, "arguments")
    for key, value in arguments.items():
        if isinstance(value, list | dict) and not value and key not in ("configuration", "secrets"):
            message = f"{func}: {key} is empty, and selects nothing"
            check.note_value(message, "name what is to be broken", *loc, "arguments", key)
