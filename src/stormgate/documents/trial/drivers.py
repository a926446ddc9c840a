"""Calls of chaostoolkit-aws and chaostoolkit-kubernetes that cannot do anything as they are
written, or not what they say, though their signatures take them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stormgate.documents.trial.checking import Check
from stormgate.documents.yamlfile import Loc

_DRIVERS = ("chaosaws.", "chaosk8s.")
# An argument that has a default with which the call is refused, or does nothing.
_NEEDED = {
    "chaosk8s.pod.actions.exec_in_pods": (
        "container_name",
        "name the container: without, every pod is skipped and nothing is run",
    ),
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
    if not module.startswith(_DRIVERS) or not module.endswith("actions"):
        return
    name, fix = _NEEDED.get(f"{module}.{func}", ("", ""))
    if name and name not in arguments:
        check.note(f"{func} without {name} cannot do anything", fix, *loc, "arguments")
    for key, value in arguments.items():
        if isinstance(value, list | dict) and not value and key not in ("configuration", "secrets"):
            message = f"{func}: {key} is empty, and selects nothing"
            check.note_value(message, "name what is to be broken", *loc, "arguments", key)
    if module.startswith("chaosk8s."):
        _check_kubernetes(module, func, arguments, loc, check)


# These take everything of the namespace where neither is given.
_ONE_OF = ("name", "label_selector")
_TAKES_ALL = frozenset(
    {
        "chaosk8s.deployment.actions.delete_deployment",
        "chaosk8s.pod.actions.delete_pods",
        "chaosk8s.replicaset.actions.delete_replica_set",
        "chaosk8s.statefulset.actions.remove_statefulset",
    }
)
# A command that ends well and does nothing: PID 1 of a namespace ignores both signals.
_IGNORED = re.compile(r"\bkill\s+(-s\s+)?-?(9|KILL|SIGKILL|STOP|SIGSTOP|19)\s+1\b")


def _check_kubernetes(
    module: str, func: str, arguments: Mapping[str, Any], loc: Loc, check: Check
) -> None:
    name = f"{module}.{func}"
    if name in _TAKES_ALL and not any(one in arguments for one in _ONE_OF):
        message = f"{func} without {' or '.join(_ONE_OF)} takes everything of its namespace"
        check.note(message, "name what is to be broken", *loc, "arguments")
    if func == "delete_nodes" and arguments.get("all") is True:
        fix = "backend kubernetes, mode crash or drain of nodes"
        check.note_value(f"{func}: all raises a TypeError, always", fix, *loc, "arguments", "all")
    command = arguments.get("cmd")
    words = " ".join(map(str, command)) if isinstance(command, list) else str(command)
    if func == "exec_in_pods" and _IGNORED.search(words):
        fix = "backend kubernetes, mode crash; a signal to another process of the pod works"
        message = f"{func}: PID 1 of a container ignores it, and the command ends with 0"
        check.note_value(message, fix, *loc, "arguments", "cmd")
