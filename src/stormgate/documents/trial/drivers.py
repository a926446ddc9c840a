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


# These take everything of the namespace, or of the cluster, where none of theirs is given.
_ONE_OF = ("name", "label_selector")
_OF_NODES = (*_ONE_OF, "count", "pod_label_selector")
_TAKES_ALL = {
    "chaosk8s.daemonset.actions.delete_daemon_set": _ONE_OF,
    "chaosk8s.deployment.actions.delete_deployment": _ONE_OF,
    "chaosk8s.node.actions.cordon_node": _ONE_OF,
    "chaosk8s.node.actions.delete_nodes": (*_OF_NODES, "first"),
    "chaosk8s.node.actions.drain_nodes": _OF_NODES,
    "chaosk8s.node.actions.uncordon_node": _ONE_OF,
    "chaosk8s.pod.actions.delete_pods": _ONE_OF,
    "chaosk8s.replicaset.actions.delete_replica_set": _ONE_OF,
    "chaosk8s.statefulset.actions.remove_statefulset": _ONE_OF,
}
_PODS, _PODS_IN = "pod_label_selector", "pod_namespace"
# A command that ends well and does nothing: PID 1 of a namespace ignores both signals.
_IGNORED = re.compile(r"\bkill\s+(-s\s+)?-?(9|KILL|SIGKILL|STOP|SIGSTOP|19)\s+1\b")


def _check_kubernetes(
    module: str, func: str, arguments: Mapping[str, Any], loc: Loc, check: Check
) -> None:
    one_of = _TAKES_ALL.get(f"{module}.{func}", ())
    if one_of and not any(one in arguments for one in one_of):
        where = "the whole cluster" if module == "chaosk8s.node.actions" else "its namespace"
        message = f"{func} without {' or '.join(one_of)} takes everything of {where}"
        check.note(message, "name what is to be broken", *loc, "arguments")
    if module == "chaosk8s.node.actions" and _PODS in arguments and _PODS_IN not in arguments:
        message = f"{func}: {_PODS} without {_PODS_IN} is passed over, and takes every node"
        check.note_value(message, f"name {_PODS_IN} too", *loc, "arguments", _PODS)
    if func == "delete_nodes" and arguments.get("all") is True:
        fix = "backend kubernetes, mode crash or drain of nodes"
        check.note_value(f"{func}: all raises a TypeError, always", fix, *loc, "arguments", "all")
    command = arguments.get("cmd")
    words = " ".join(map(str, command)) if isinstance(command, list) else str(command)
    if func == "exec_in_pods" and _IGNORED.search(words):
        fix = "backend kubernetes, mode crash; a signal to another process of the pod works"
        message = f"{func}: PID 1 of a container ignores it, and the command ends with 0"
        check.note_value(message, fix, *loc, "arguments", "cmd")
