"""Open-loop load inside Locust. Importing this imports Locust and gevent; nothing outside this package may.

from stormgate.load import GeoUser, get, post
"""

from stormgate.load.flow import Reply, Request, Retry, delete, get, head, patch, post, put, request, think
from stormgate.load.hooks import install
from stormgate.load.stream import Session
from stormgate.load.user import GeoUser

install()

__all__ = [
    "GeoUser",
    "Reply",
    "Request",
    "Retry",
    "Session",
    "delete",
    "get",
    "head",
    "patch",
    "post",
    "put",
    "request",
    "think",
]
