"""One HTTP exchange with a Toxiproxy server, with a bound on time and every failure typed."""

from __future__ import annotations

import json
from typing import Any, Protocol
from urllib.parse import urlsplit

from stormgate.net.allow import AllowList, NotAllowedError
from stormgate.net.fetch import NoHttpError, exchange
from stormgate.toxiproxy.errors import (
    AlreadyExists,
    InvalidRequest,
    ProxyNotFound,
    RequestRejected,
    ServerFailed,
    ServerUnreachable,
    ServerWedged,
    ToxicNotFound,
    ToxiproxyError,
    UnexpectedAnswer,
)

USER_AGENT = "stormgate"
# A thousand proxies with ten toxics each are 3 MB.
_ANSWER_MAX_BYTES = 8 << 20
EVERYONE = AllowList(None)


class Carrier(Protocol):
    """A way to a server's API."""

    def call(
        self, method: str, path: str, body: object = None, *, keep: tuple[int, ...] = ()
    ) -> Any:
        """See Transport.call."""


class Transport:
    """Sends requests to `url` (http://host:port), a connection each: safe from any thread, nothing
    stale to trip over.
    """

    def __init__(self, url: str, timeout_s: float, allow: AllowList = EVERYONE) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise InvalidRequest(f"Toxiproxy URL {url!r}: {error}") from error
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
            raise InvalidRequest(f"Toxiproxy URL {url!r} must look like http://127.0.0.1:8474")
        if timeout_s <= 0:
            raise InvalidRequest(f"timeout_s must be above 0, not {timeout_s}")
        host = parts.hostname
        self._host, self._port = f"[{host}]" if ":" in host else host, port or 8474
        self._timeout_s, self._allow = timeout_s, allow

    def call(
        self, method: str, path: str, body: object = None, *, keep: tuple[int, ...] = ()
    ) -> Any:
        """The decoded JSON answer, None for 204. Statuses in `keep` are returned like a success.

        Raises the errors of `stormgate.toxiproxy.errors`; waits at most `timeout_s`, for all of it.
        """
        what = f"{method} {path}"
        status, kind, raw = self._exchange(method, path, body, what)
        if status == 204:
            return None
        if 200 <= status < 300 or status in keep:
            return _decode(raw, what, kind)
        raise rejection(status, raw, what)

    def _exchange(self, method: str, path: str, body: object, what: str) -> tuple[int, str, bytes]:
        payload = None if body is None else json.dumps(body).encode()
        headers = {"User-Agent": USER_AGENT, "Content-Type": "application/json"}
        url = f"http://{self._host}:{self._port}{path}"
        try:
            answer = exchange(
                method,
                url,
                self._allow,
                self._timeout_s,
                body=payload,
                headers=headers,
                limit=_ANSWER_MAX_BYTES,
            )
        except NotAllowedError as error:
            raise InvalidRequest(f"{what}: {error}") from error
        except TimeoutError as error:
            raise ServerWedged(f"{what}: {error}") from error
        except (NoHttpError, ValueError) as error:
            raise UnexpectedAnswer(f"{what}: {self._host}:{self._port}: {error}") from error
        except OSError as error:
            raise ServerUnreachable(
                f"{what}: {self._host}:{self._port}: {error or type(error).__name__}"
            ) from error
        return answer.status, answer.headers.get("Content-Type", ""), answer.body


def rejection(status: int, raw: bytes, what: str) -> ToxiproxyError:
    """The typed error for a status outside 2xx and its body."""
    if status == 503:
        return ServerWedged(f"{what}: the server gave up on its own request (503)")
    try:
        data = json.loads(raw)
        message = str(data["error"])
    except (ValueError, KeyError, TypeError):
        return UnexpectedAnswer(
            f"{what}: HTTP {status} without Toxiproxy's error body: {raw[:200]!r}"
        )
    text = f"{what}: {message} (HTTP {status})"
    if status == 404:
        return {"proxy not found": ProxyNotFound, "toxic not found": ToxicNotFound}.get(
            message, RequestRejected
        )(text)
    if status == 409:
        return AlreadyExists(text)
    return ServerFailed(text) if status >= 500 else RequestRejected(text)


def _decode(raw: bytes, what: str, kind: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise UnexpectedAnswer(
            f"{what}: expected JSON, got {kind or 'no type'}: {raw[:200]!r}"
        ) from error
