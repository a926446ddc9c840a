"""How many requests that change something an activity of chaostoolkit-kubernetes sends: its actions
list what matches, do something to each, and return None whether there were any or not.

Counted where its client sends them, in the thread that plays the activity; the library is touched
only once such an activity comes.
"""

from __future__ import annotations

import functools
import importlib
from contextvars import ContextVar
from typing import Any

_DRIVER = "chaosk8s."
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Commands in pods go over a websocket, and their results say what came of them.
_BY_WEBSOCKET = frozenset({"exec_in_pods"})

# What only cordons has drained nobody: pods with local storage are passed over without a word.
_WANTS = {"drain_nodes": ("POST", "evicted no pod: it only cordoned")}

_sent: ContextVar[list[str] | None] = ContextVar("sent", default=None)


def begin(activity: dict[str, Any]) -> None:
    """This thread plays this activity from here on."""
    module, func = _called(activity)
    if activity.get("type") != "action" or not module.startswith(_DRIVER) or func in _BY_WEBSOCKET:
        _sent.set(None)
        return
    _sent.set([] if _watch() else None)


def why_nothing(activity: dict[str, Any]) -> str | None:
    """Why what this thread has played changed nothing; None where it did, or nobody counted."""
    sent = _sent.get()
    _sent.set(None)
    func = _called(activity)[1]
    if sent is None:
        return None
    if not sent:
        return f"{func} changed nothing: it sent no request that could, so nothing matched"
    method, why = _WANTS.get(func, ("", ""))
    return f"{func} {why}" if method and method not in sent else None


@functools.cache
def _watch() -> bool:
    """Count from here on; whether that could be arranged."""
    try:
        rest: Any = importlib.import_module("kubernetes.client.rest")
        client = rest.RESTClientObject
        send = client.request
    except (ImportError, AttributeError):
        return False

    @functools.wraps(send)
    def counted(self: Any, method: str, *given: Any, **named: Any) -> Any:
        sent = _sent.get()
        if sent is not None and method.upper() in _CHANGES:
            sent.append(method)
        return send(self, method, *given, **named)

    client.request = counted
    return True


def _called(activity: dict[str, Any]) -> tuple[str, str]:
    provider = activity.get("provider")
    found = provider if isinstance(provider, dict) else {}
    return str(found.get("module")), str(found.get("func"))
