"""All proxies of the server, and what the API does with them. Knows JSON and status codes, but no
HTTP.
"""

from __future__ import annotations

import random
from typing import Any

from stormgate.toxiproxy.embedded import address
from stormgate.toxiproxy.embedded.gojson import BodyError, Fields, first_value, shortest_float32
from stormgate.toxiproxy.embedded.live_toxic import LiveToxic
from stormgate.toxiproxy.embedded.proxy import LiveProxy
from stormgate.toxiproxy.toxics import TOXICS
from stormgate.toxiproxy.types import STREAMS, Stream


class ApiError(Exception):
    """Answered as Toxiproxy does: {"error", "status"}."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status

    def as_json(self) -> dict[str, Any]:
        return {"error": self.message, "status": self.status}


def bad_body(error: BodyError) -> ApiError:
    return ApiError(f"bad request body: {error}", 400)


class Collection:
    """The server's state."""

    def __init__(self, seed: int | None) -> None:
        """With `seed` the toxicity, jitter and slices of each proxy repeat, given the same order of
        connections.
        """
        self._proxies: dict[str, LiveProxy] = {}
        self._seed = seed

    def all(self) -> list[LiveProxy]:
        return [self._proxies[name] for name in sorted(self._proxies)]

    def get(self, name: str) -> LiveProxy:
        try:
            return self._proxies[name]
        except KeyError:
            raise ApiError("proxy not found", 404) from None

    def create(self, body: bytes) -> LiveProxy:
        fields = _object(body, "Proxy")
        name, upstream, listen, enabled = _proxy_fields(fields, "")
        if name in self._proxies:
            raise ApiError("proxy already exists", 409)
        proxy = self._new(name, listen, upstream)
        if enabled:
            _start(proxy)
        self._proxies[name] = proxy
        return proxy

    def populate(self, body: bytes) -> tuple[list[LiveProxy], ApiError | None]:
        """The proxies made or kept, and the error that stopped it, if one did."""
        try:
            value = first_value(body)
            if value is not None and not isinstance(value, list):
                raise BodyError("cannot unmarshal: expected an array of proxies")
            wanted = [
                _proxy_fields(Fields(item, "Proxy"), f" at proxy {i}")
                for i, item in enumerate(value or (), 1)
            ]
        except BodyError as error:
            return [], bad_body(error)
        except ApiError as error:
            return [], error
        done: list[LiveProxy] = []
        for name, upstream, listen, enabled in wanted:
            try:
                done.append(self._add_or_replace(name, upstream, listen, enabled))
            except ApiError as error:
                return done, error
        return done, None

    def _add_or_replace(self, name: str, upstream: str, listen: str, enabled: bool) -> LiveProxy:
        existing = self._proxies.get(name)
        if existing is not None:
            try:
                same = (existing.listen, existing.upstream) == (address.canonical(listen), upstream)
            except address.ListenError as error:
                raise ApiError(str(error), 500) from error
            if same:
                return existing
            existing.stop()
        proxy = self._new(name, listen, upstream)
        if enabled:
            _start(proxy)
        self._proxies[name] = proxy
        return proxy

    def update(self, proxy: LiveProxy, body: bytes) -> None:
        fields = _object(body, "Proxy")
        try:
            listen = fields.text("listen", proxy.listen)
            upstream = fields.text("upstream", proxy.upstream)
            enabled = fields.flag("enabled", proxy.enabled)
        except BodyError as error:
            raise bad_body(error) from error
        try:
            proxy.update(listen, upstream, enabled)
        except address.ListenError as error:
            raise ApiError(str(error), 500) from error

    def remove(self, name: str) -> None:
        self.get(name).stop()
        del self._proxies[name]

    def reset(self) -> None:
        """All toxics go and all proxies that can be are enabled, before a failure of any is
        reported.
        """
        failures = []
        for proxy in self.all():
            for toxic in proxy.all_toxics():
                proxy.remove_toxic(toxic)
            try:
                proxy.start()
            except address.ListenError as error:
                failures.append(str(error))
        if failures:
            raise ApiError("; ".join(failures), 500)

    def _new(self, name: str, listen: str, upstream: str) -> LiveProxy:
        rng = random.Random() if self._seed is None else random.Random(f"{self._seed}/{name}")  # noqa: S311
        return LiveProxy(name, listen, upstream, rng)


def add_toxic(proxy: LiveProxy, body: bytes) -> LiveToxic:
    fields = _object(body, "Toxic")
    try:
        name, type_ = fields.text("name", ""), fields.text("type", "")
        stream_text = fields.text("stream", "downstream")
        toxicity = fields.float32("toxicity", 1.0)
        attributes = Fields(fields.raw("attributes"), "Toxic.attributes")
        stream = _stream(stream_text)
        name = name or f"{type_}_{stream_text}"
        if type_ not in TOXICS:
            raise ApiError("invalid toxic type", 400)
        if proxy.find_toxic(name) is not None:
            raise ApiError("toxic already exists", 409)
        values = {key: attributes.integer(key, 0) for key in TOXICS[type_].attribute_names()}
        toxic = LiveToxic(
            name, stream, stream_text, toxicity, TOXICS[type_](**_workable(type_, values))
        )
    except BodyError as error:
        raise bad_body(error) from error
    proxy.add_toxic(toxic)
    return toxic


def update_toxic(proxy: LiveProxy, name: str, body: bytes) -> LiveToxic:
    toxic = find_toxic(proxy, name)
    fields = _object(body, "Toxic")
    try:
        toxicity = fields.float32("toxicity", toxic.toxicity)
        attributes = Fields(fields.raw("attributes"), "Toxic.attributes")
        kind = type(toxic.kind)
        values = {
            key: attributes.integer(key, getattr(toxic.kind, key)) for key in kind.attribute_names()
        }
        proxy.update_toxic(toxic, kind(**_workable(kind.type, values)), toxicity)
    except BodyError as error:
        raise bad_body(error) from error
    return toxic


def find_toxic(proxy: LiveProxy, name: str) -> LiveToxic:
    toxic = proxy.find_toxic(name)
    if toxic is None:
        raise ApiError("toxic not found", 404)
    return toxic


def proxy_json(proxy: LiveProxy) -> dict[str, Any]:
    return {
        "name": proxy.name,
        "listen": proxy.listen,
        "upstream": proxy.upstream,
        "enabled": proxy.enabled,
        "toxics": [toxic_json(toxic) for toxic in proxy.all_toxics()],
    }


def toxic_json(toxic: LiveToxic) -> dict[str, Any]:
    return {
        "attributes": {key: getattr(toxic.kind, key) for key in toxic.kind.attribute_names()},
        "name": toxic.name,
        "type": toxic.kind.type,
        "stream": toxic.stream_text,
        "toxicity": shortest_float32(toxic.toxicity),
    }


def _workable(type_: str, values: dict[str, int]) -> dict[str, int]:
    """The real server accepts what it then cannot do, and dies; here it is a bad request."""
    if problems := TOXICS[type_].problems(values):
        raise BodyError("; ".join(problems))
    return values


def _object(body: bytes, what: str) -> Fields:
    try:
        return Fields(first_value(body), what)
    except BodyError as error:
        raise bad_body(error) from error


def _proxy_fields(fields: Fields, where: str) -> tuple[str, str, str, bool]:
    """Name, upstream, listen, enabled. Raises ApiError."""
    try:
        name, upstream = fields.text("name", ""), fields.text("upstream", "")
        listen, enabled = fields.text("listen", ""), fields.flag("enabled", True)
    except BodyError as error:
        raise bad_body(error) from error
    for field, value in (("name", name), ("upstream", upstream)):
        if not value:
            raise ApiError(f"missing required field: {field}{where}", 400)
    return name, upstream, listen, enabled


def _stream(text: str) -> Stream:
    for stream in STREAMS:
        if text.lower() == stream:
            return stream
    raise ApiError("stream was invalid, can be either upstream or downstream", 400)


def _start(proxy: LiveProxy) -> None:
    try:
        proxy.start()
    except address.ListenError as error:
        raise ApiError(str(error), 500) from error
