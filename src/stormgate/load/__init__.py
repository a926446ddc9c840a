"""Open-loop load inside Locust: `from stormgate.load import GeoUser, get, post`.

Asking for `GeoUser` imports Locust (which patches the interpreter for gevent) and hooks Stormgate
into it; nothing outside this package may. The modules that only compute (arrivals, deal, flow,
recorder, ...) import without it.
"""

from typing import TYPE_CHECKING, Any

from stormgate.load.browser import BrowserCache
from stormgate.load.choice import choice
from stormgate.load.engine.stream import Session
from stormgate.load.flow import (
    Reply,
    Request,
    Retry,
    delete,
    get,
    head,
    patch,
    post,
    put,
    request,
    think,
)

if TYPE_CHECKING:
    from stormgate.load.locust.user import GeoUser

__all__ = [
    "BrowserCache",
    "GeoUser",
    "Reply",
    "Request",
    "Retry",
    "Session",
    "choice",
    "delete",
    "get",
    "head",
    "patch",
    "post",
    "put",
    "request",
    "think",
]


def __getattr__(name: str) -> Any:
    if name != "GeoUser":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stormgate.load.locust.user import GeoUser

    return GeoUser
