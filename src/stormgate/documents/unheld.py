"""Programs of other people that a gate will start: the gate at the socket cannot hold them to
`allow`, for they open sockets of their own, and everyone on the machine can read their words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stormgate.documents.problems import Problems
from stormgate.documents.yamlfile import read_documents
from stormgate.faults import backends
from stormgate.model import Component, Plan
from stormgate.system.secrets import looks_secret


def unheld(plan: Plan, root: Path) -> list[str]:
    """Each such program in a line, in the order of the plan."""
    lines = [
        f"component {component.name}: {', '.join(programs)}"
        for component in plan.target.components
        if (programs := _programs(component))
    ]
    lines += [
        f"store {store.name}: {', '.join(dict.fromkeys(argv[0] for argv in argvs))}"
        for store in plan.target.stores
        if (argvs := [argv for argv in (store.read, store.scan) if argv])
    ]
    for experiment in dict.fromkeys(fault.experiment for fault in plan.faults):
        for document in read_documents(root / experiment, Problems()):
            lines += [
                f"{experiment}: process provider of {name!r}: {path}"
                for name, path in _processes(document.data)
            ]
    return lines


def shown_secrets(provider: Mapping[str, Any], experiment: Mapping[str, Any]) -> list[str]:
    """The variables among the arguments of a process provider whose values are secrets: they come
    from the environment or from the experiment's secrets, or their name says so.
    """
    named = set(re.findall(r"\$\{(\w+)\}", json.dumps(provider.get("arguments"), default=str)))
    configuration, secret = experiment.get("configuration"), experiment.get("secrets")
    found = {
        name
        for name, value in (configuration if isinstance(configuration, dict) else {}).items()
        if (isinstance(value, dict) and value.get("type") == "env") or looks_secret(str(name))
    }
    for group in secret.values() if isinstance(secret, dict) else ():
        found |= set(group) if isinstance(group, dict) else set()
    return sorted(named & found)


def _programs(component: Component) -> list[str]:
    """The distinct programs of a component's handle, as the target writes them."""
    handle = component.handle
    argvs: list[Any] = [handle.get("start"), handle.get("observe")]
    for modes in (handle.get("apply"), handle.get("undo")):
        argvs += modes.values() if isinstance(modes, dict) else []
    written = [str(argv[0]) for argv in argvs if argv]
    return list(dict.fromkeys([*written, *backends.get(component.backend).programs(handle)]))


def _processes(data: Any) -> Iterator[tuple[str, str]]:
    """(name, path) of every activity or control whose provider is a process, however deep."""
    if isinstance(data, dict):
        provider = data.get("provider")
        if isinstance(provider, dict) and provider.get("type") == "process":
            yield str(data.get("name")), str(provider.get("path"))
        for value in data.values():
            yield from _processes(value)
    elif isinstance(data, list):
        for value in data:
            yield from _processes(value)
