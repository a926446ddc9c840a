"""Toxiproxy's HTTP routes: method and path to an answer. No sockets here."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

from stormgate.toxiproxy.embedded import collection
from stormgate.toxiproxy.embedded.collection import ApiError, Collection, proxy_json, toxic_json
from stormgate.toxiproxy.types import STREAMS

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class ApiCall(NamedTuple):
    """`target` as it stands in the request line."""

    method: str
    target: str
    user_agent: str
    body: bytes


class ApiAnswer(NamedTuple):
    """`request_id` is empty where Toxiproxy sends none: on paths it does not know."""

    status: int
    content_type: str = JSON
    body: bytes = b""
    request_id: str = ""


class Api:
    """Answers requests on one collection of proxies."""

    def __init__(self, proxies: Collection, version: str, *, metrics: bool = False) -> None:
        self._proxies = proxies
        self._version = version
        self._ids = itertools.count(1)
        self._boot = os.urandom(6).hex()
        name, toxic = r"(?P<proxy>[^/]+)", r"(?P<toxic>[^/]+)"
        routes: list[tuple[str, dict[str, Callable[..., ApiAnswer]]]] = [
            ("/version", {"GET": self._show_version}),
            ("/reset", {"POST": self._reset}),
            ("/populate", {"POST": self._populate}),
            ("/proxies", {"GET": self._list, "POST": self._create}),
            (f"/proxies/{name}", {"GET": self._show, "POST": self._update, "PATCH": self._update,
                                  "DELETE": self._delete}),
            (f"/proxies/{name}/toxics", {"GET": self._toxics, "POST": self._add_toxic}),
            (f"/proxies/{name}/toxics/{toxic}", {"GET": self._show_toxic, "POST": self._update_toxic,  # noqa: E501
                                                 "PATCH": self._update_toxic, "DELETE": self._remove_toxic}),  # noqa: E501
        ]  # fmt: skip
        if metrics:
            routes.append(("/metrics", {"GET": self._metrics}))
        self._routes = [(re.compile(pattern + r"\Z"), methods) for pattern, methods in routes]

    def answer(self, request: ApiCall) -> ApiAnswer:
        """Never raises for a bad request."""
        path = unquote(request.target.partition("?")[0])
        for pattern, methods in self._routes:
            found = pattern.match(path)
            if found is None:
                continue
            if request.method not in methods:
                return ApiAnswer(405, "")
            if request.user_agent.startswith("Mozilla/"):
                # A page in a browser must not be able to break somebody's network.
                answer = ApiAnswer(403, TEXT, b"User agent not allowed\n")
            else:
                answer = self._handle(methods[request.method], request.body, found.groupdict())
            return answer._replace(request_id=f"{self._boot}{next(self._ids):08x}")
        return ApiAnswer(404, TEXT, b"404 page not found\n")

    def _handle(
        self, handler: Callable[..., ApiAnswer], body: bytes, names: dict[str, str]
    ) -> ApiAnswer:
        try:
            return handler(body, **names)
        except ApiError as error:
            # Toxiproxy means application/json here, but http.Error overwrites it.
            return ApiAnswer(error.status, TEXT, _dump(error.as_json()) + b"\n")

    def _show_version(self, body: bytes) -> ApiAnswer:
        return ApiAnswer(
            200, "application/json;charset=utf-8", f'{{"version": "{self._version}"}}\n'.encode()
        )

    def _reset(self, body: bytes) -> ApiAnswer:
        self._proxies.reset()
        return ApiAnswer(204, "")

    def _populate(self, body: bytes) -> ApiAnswer:
        proxies, error = self._proxies.populate(body)
        listed = {"proxies": [proxy_json(proxy) for proxy in proxies] or None}
        if error is not None:
            return ApiAnswer(error.status, JSON, _dump({**error.as_json(), **listed}))
        return ApiAnswer(201, JSON, _dump(listed))

    def _list(self, body: bytes) -> ApiAnswer:
        return ApiAnswer(
            200, JSON, _dump({proxy.name: proxy_json(proxy) for proxy in self._proxies.all()})
        )

    def _create(self, body: bytes) -> ApiAnswer:
        return ApiAnswer(201, JSON, _dump(proxy_json(self._proxies.create(body))))

    def _show(self, body: bytes, proxy: str) -> ApiAnswer:
        return ApiAnswer(200, JSON, _dump(proxy_json(self._proxies.get(proxy))))

    def _update(self, body: bytes, proxy: str) -> ApiAnswer:
        found = self._proxies.get(proxy)
        self._proxies.update(found, body)
        return ApiAnswer(200, JSON, _dump(proxy_json(found)))

    def _delete(self, body: bytes, proxy: str) -> ApiAnswer:
        self._proxies.remove(proxy)
        return ApiAnswer(204, "")

    def _toxics(self, body: bytes, proxy: str) -> ApiAnswer:
        return ApiAnswer(
            200, JSON, _dump([toxic_json(toxic) for toxic in self._proxies.get(proxy).all_toxics()])
        )

    def _add_toxic(self, body: bytes, proxy: str) -> ApiAnswer:
        return ApiAnswer(
            200, JSON, _dump(toxic_json(collection.add_toxic(self._proxies.get(proxy), body)))
        )

    def _show_toxic(self, body: bytes, proxy: str, toxic: str) -> ApiAnswer:
        return ApiAnswer(
            200, JSON, _dump(toxic_json(collection.find_toxic(self._proxies.get(proxy), toxic)))
        )

    def _update_toxic(self, body: bytes, proxy: str, toxic: str) -> ApiAnswer:
        return ApiAnswer(
            200,
            JSON,
            _dump(toxic_json(collection.update_toxic(self._proxies.get(proxy), toxic, body))),
        )

    def _remove_toxic(self, body: bytes, proxy: str, toxic: str) -> ApiAnswer:
        found = self._proxies.get(proxy)
        found.remove_toxic(collection.find_toxic(found, toxic))
        return ApiAnswer(204, "")

    def _metrics(self, body: bytes) -> ApiAnswer:
        """Prometheus text. Unlike the real server's, the counters move while connections are
        open.
        """
        name = "toxiproxy_proxy_received_bytes_total"
        lines = [f"# HELP {name} Bytes received by the links of a proxy.", f"# TYPE {name} counter"]
        for proxy in self._proxies.all():
            for stream in STREAMS:
                labels = {
                    "direction": stream, "listener": proxy.listen, "proxy": proxy.name, "upstream": proxy.upstream,  # noqa: E501
                }  # fmt: skip
                text = ",".join(f'{key}="{_label(value)}"' for key, value in labels.items())
                lines.append(f"{name}{{{text}}} {proxy.bytes_received(stream)}")
        return ApiAnswer(
            200, "text/plain; version=0.0.4; charset=utf-8", "\n".join([*lines, ""]).encode()
        )


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
