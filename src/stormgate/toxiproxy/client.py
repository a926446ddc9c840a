"""The Toxiproxy client: synchronous, bounded in time, and believing nothing it has not read back.

Why not toxiproxy-python: its host and port are class globals (two servers in one process are
impossible), it has no timeouts (a wedged server hangs the undo), it cannot update a toxic,
`add_toxic` returns nothing and accepts a 500, every 409 is `ProxyExists` and every 5xx passes
unseen. None of its calls could carry a promise to undo. Scripts written for it still work against
any server started here; the conformance suite uses it as an independent second client.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from stormgate.net.allow import AllowList
from stormgate.toxiproxy.errors import (
    ProxyNotFound,
    ResetIncomplete,
    ServerUnreachable,
    ServerWedged,
    ToxicNotApplied,
    ToxicNotFound,
    ToxiproxyError,
    UnexpectedAnswer,
)
from stormgate.toxiproxy.transport import EVERYONE, Carrier, Transport, rejection
from stormgate.toxiproxy.types import (
    Proxy,
    ProxySpec,
    Stream,
    Toxic,
    check_name,
    check_spec,
    check_toxic,
    same_toxicity,
    split_address,
    with_defaults,
)

# The real server writes new attributes under the feet of the connections that read them: a
# bandwidth whose rate rises while it holds data cuts out of range, a slicer whose variation falls
# to 0 draws from nothing. Both kill the server.
_DEADLY_TO_UPDATE = frozenset({"bandwidth", "slicer"})


class Client:
    """One Toxiproxy server at `url`. Thread-safe; holds no connection.

    Every method raises ToxiproxyError (see `errors`). A write that raises ServerWedged or
    ServerUnreachable may or may not have happened: read, or use an `ensure_` method, which is safe
    to repeat.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = 5.0,
        allow: AllowList = EVERYONE,
        *,
        transport: Carrier | None = None,
    ) -> None:
        """`timeout_s` bounds each HTTP exchange; a method makes two to three (write, read back).
        `transport`: another way there than a connection to `url`.
        """
        self.url = url
        self.timeout_s = timeout_s
        self._transport = transport or Transport(url, timeout_s, allow)

    def version(self) -> str:
        """The server's version, as it says."""
        answer = self._transport.call("GET", "/version")
        if not isinstance(answer, dict) or not isinstance(answer.get("version"), str):
            raise UnexpectedAnswer(f"GET /version: expected a version, got {answer!r:.200}")
        return str(answer["version"])

    def wait_ready(self, deadline_s: float) -> str:
        """Wait until the server answers; its version. Raises the last error after `deadline_s`
        seconds.
        """
        end = time.monotonic() + deadline_s
        while True:
            try:
                return self.version()
            except (ServerUnreachable, ServerWedged):
                if time.monotonic() >= end:
                    raise
                time.sleep(0.005)

    # -- proxies

    def proxies(self) -> dict[str, Proxy]:
        """All proxies by name."""
        answer = self._transport.call("GET", "/proxies")
        if not isinstance(answer, dict):
            raise UnexpectedAnswer(f"GET /proxies: expected an object, got {answer!r:.200}")
        return {name: Proxy.from_json(data) for name, data in answer.items()}

    def get(self, name: str) -> Proxy:
        """Raises ProxyNotFound."""
        return Proxy.from_json(self._transport.call("GET", _proxy_path(name)))

    def create(
        self, name: str, upstream: str, listen: str = "127.0.0.1:0", enabled: bool = True
    ) -> Proxy:
        """Make a proxy; the returned `listen` has the port the server chose.

        Raises AlreadyExists, ServerFailed (the address cannot be listened on), NotApplied.
        """
        spec = check_spec(ProxySpec(name, upstream, listen, enabled))
        self._transport.call("POST", "/proxies", _spec_json(spec))
        return _matching(self.get(name), spec)

    def populate(self, specs: Iterable[ProxySpec]) -> list[Proxy]:
        """Make all of these in one call; those that exist with the same addresses keep their port
        and toxics.

        A proxy that exists with another address is replaced. With port 0 an existing proxy to the
        same upstream is kept (the server alone would move it to a new port). Raises ServerFailed
        when an address cannot be listened on; the proxies before it exist then.
        """
        wanted = [check_spec(spec) for spec in specs]
        if not wanted:
            return []
        before = self.proxies()
        asked = [_keep_port(spec, before.get(spec.name)) for spec in wanted]
        errors = tuple(range(400, 600))
        answer = self._transport.call(
            "POST", "/populate", [_spec_json(spec) for spec in asked], keep=errors
        )
        if isinstance(answer, dict) and "error" in answer:
            raise rejection(
                int(answer.get("status", 500)), json.dumps(answer).encode(), "POST /populate"
            )
        after = self.proxies()
        for spec in asked:
            # The server leaves an existing proxy's `enabled` as it was.
            if spec.name in after and after[spec.name].enabled != spec.enabled:
                after[spec.name] = self.set_enabled(spec.name, spec.enabled)
        missing = [spec.name for spec in asked if spec.name not in after]
        if missing:
            raise ToxicNotApplied(
                f"POST /populate: accepted, but {', '.join(missing)} do not exist"
            )
        return [_matching(after[spec.name], spec) for spec in asked]

    def set_enabled(self, name: str, enabled: bool) -> Proxy:
        """`False` is the "down" fault: connections end, new ones are refused. `True` listens again
        on the same port.

        Raises ProxyNotFound, ServerFailed (the port was taken meanwhile), NotApplied.
        """
        self._transport.call("PATCH", _proxy_path(name), {"enabled": enabled})
        proxy = self.get(name)
        if proxy.enabled != enabled:
            raise ToxicNotApplied(
                f"proxy {name!r}: asked for enabled={enabled}, read back {proxy.enabled}"
            )
        return proxy

    def delete(self, name: str) -> None:
        """Raises ProxyNotFound, NotApplied."""
        self._transport.call("DELETE", _proxy_path(name))
        with contextlib.suppress(ProxyNotFound):
            self.get(name)
            raise ToxicNotApplied(f"proxy {name!r}: deleted, yet it still exists")

    # -- toxics

    def toxics(self, proxy: str) -> list[Toxic]:
        """The proxy's toxics, upstream ones first, in the order they act. Raises ProxyNotFound."""
        answer = self._transport.call("GET", f"{_proxy_path(proxy)}/toxics")
        if not isinstance(answer, list):
            raise UnexpectedAnswer(f"toxics of {proxy!r}: expected an array, got {answer!r:.200}")
        return [Toxic.from_json(item) for item in answer]

    def get_toxic(self, proxy: str, name: str) -> Toxic:
        """Raises ProxyNotFound, ToxicNotFound."""
        return Toxic.from_json(self._transport.call("GET", _toxic_path(proxy, name)))

    def add_toxic(
        self,
        proxy: str,
        type: str,
        attributes: Mapping[str, int],
        *,
        name: str | None = None,
        stream: Stream = "downstream",
        toxicity: float = 1.0,
    ) -> Toxic:
        """Add a fault; it acts on open connections at once. `name` defaults to `<type>_<stream>`.

        Raises InvalidRequest (nothing was sent), ProxyNotFound, AlreadyExists, NotApplied.
        """
        check_toxic(type, attributes, stream, toxicity)
        wanted = Toxic(
            name or f"{type}_{stream}", type, stream, toxicity, with_defaults(type, attributes)
        )
        check_name(wanted.name, "toxic")
        self._transport.call("POST", f"{_proxy_path(proxy)}/toxics", _toxic_json(wanted))
        return self._read_back(proxy, wanted)

    def update_toxic(
        self,
        proxy: str,
        name: str,
        attributes: Mapping[str, int] | None = None,
        *,
        toxicity: float | None = None,
    ) -> Toxic:
        """Change some attributes, the toxicity, or both; what is not given stays.

        A bandwidth or slicer is removed and added again, at the end of the chain: should that be
        cut off in between, the fault is gone, never stuck. Raises InvalidRequest (nothing was
        sent), ProxyNotFound, ToxicNotFound, NotApplied.
        """
        now = self.get_toxic(proxy, name)
        share = now.toxicity if toxicity is None else toxicity
        merged = {**now.attributes, **(attributes or {})}
        check_toxic(now.type, merged, now.stream, share)
        wanted = Toxic(name, now.type, now.stream, share, merged)
        if now.type in _DEADLY_TO_UPDATE:
            self.ensure_no_toxic(proxy, name)
            self._transport.call("POST", f"{_proxy_path(proxy)}/toxics", _toxic_json(wanted))
        else:
            self._transport.call(
                "PATCH", _toxic_path(proxy, name), {"attributes": merged, "toxicity": share}
            )
        return self._read_back(proxy, wanted)

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Raises ProxyNotFound, ToxicNotFound, NotApplied."""
        self._transport.call("DELETE", _toxic_path(proxy, name))
        with contextlib.suppress(ToxicNotFound):
            self.get_toxic(proxy, name)
            raise ToxicNotApplied(
                f"toxic {name!r} of proxy {proxy!r}: removed, yet it is still there"
            )

    def _read_back(self, proxy: str, wanted: Toxic) -> Toxic:
        found = self.get_toxic(proxy, wanted.name)
        same = (found.type, found.stream, dict(found.attributes)) == (
            wanted.type,
            wanted.stream,
            wanted.attributes,
        )
        if not same or not same_toxicity(found.toxicity, wanted.toxicity):
            raise ToxicNotApplied(
                f"toxic {wanted.name!r} of proxy {proxy!r}: asked for {wanted}, read back {found}"
            )
        return found

    # -- undo: safe to repeat

    def ensure_enabled(self, name: str, enabled: bool = True) -> Proxy:
        """Enable (or disable) unless it is so already. Raises ProxyNotFound: a proxy that is gone
        is not whole.
        """
        proxy = self.get(name)
        return proxy if proxy.enabled == enabled else self.set_enabled(name, enabled)

    def ensure_toxic(
        self,
        proxy: str,
        type: str,
        attributes: Mapping[str, int],
        *,
        name: str | None = None,
        stream: Stream = "downstream",
        toxicity: float = 1.0,
    ) -> Toxic:
        """Add the toxic, or bring the one of this name to these values (replacing one of another
        type or stream).

        One that has them already is left alone: an update would draw its toxicity anew.
        """
        check_toxic(type, attributes, stream, toxicity)
        name = name or f"{type}_{stream}"
        wanted = with_defaults(type, attributes)
        try:
            found = self.get_toxic(proxy, name)
        except ToxicNotFound:
            found = None
        if found is not None and (found.type, found.stream) == (type, stream):
            if dict(found.attributes) == wanted and same_toxicity(found.toxicity, toxicity):
                return found
            return self.update_toxic(proxy, name, wanted, toxicity=toxicity)
        if found is not None:
            self.ensure_no_toxic(proxy, name)
        return self.add_toxic(proxy, type, attributes, name=name, stream=stream, toxicity=toxicity)

    def ensure_no_toxic(self, proxy: str, name: str) -> None:
        """Remove the toxic if it is there. Raises ProxyNotFound: then the fault is gone, but so is
        the link.
        """
        with contextlib.suppress(ToxicNotFound):
            self.remove_toxic(proxy, name)

    def ensure_deleted(self, name: str) -> None:
        """Delete the proxy if it is there."""
        with contextlib.suppress(ProxyNotFound):
            self.delete(name)

    def reset(self, names: Iterable[str] | None = None) -> dict[str, Proxy]:
        """Remove all toxics from and enable each proxy (of `names`, else all), each by itself; read
        back.

        Not the server's `/reset`: that stops at the first proxy that cannot start and leaves the
        others' toxics in place. Here one that fails, or hangs, costs no other. Raises
        ResetIncomplete with each failure.
        """
        found = self.proxies()
        wanted = list(found) if names is None else list(names)
        if not wanted:
            return {}
        failures: dict[str, Exception] = {}
        whole: dict[str, Proxy] = {}
        with ThreadPoolExecutor(max_workers=min(8, len(wanted))) as pool:
            # A hung proxy holds one worker for a timeout; the rest go on beside it.
            for name, task in {name: pool.submit(self._reset_one, name) for name in wanted}.items():
                try:
                    whole[name] = task.result()
                except ToxiproxyError as error:
                    failures[name] = error
        if failures:
            raise ResetIncomplete(failures)
        return whole

    def _reset_one(self, name: str) -> Proxy:
        for toxic in self.toxics(name):
            self.ensure_no_toxic(name, toxic.name)
        self.ensure_enabled(name)
        proxy = self.get(name)
        if proxy.toxics or not proxy.enabled:
            raise ToxicNotApplied(f"proxy {name!r}: reset, yet read back {proxy}")
        return proxy


def _proxy_path(name: str) -> str:
    return f"/proxies/{quote(check_name(name, 'proxy'), safe='')}"


def _toxic_path(proxy: str, name: str) -> str:
    return f"{_proxy_path(proxy)}/toxics/{quote(check_name(name, 'toxic'), safe='')}"


def _spec_json(spec: ProxySpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "upstream": spec.upstream,
        "listen": spec.listen,
        "enabled": spec.enabled,
    }


def _toxic_json(toxic: Toxic) -> dict[str, Any]:
    return {
        "name": toxic.name,
        "type": toxic.type,
        "stream": toxic.stream,
        "toxicity": toxic.toxicity,
        "attributes": dict(toxic.attributes),
    }


def _keep_port(spec: ProxySpec, existing: Proxy | None) -> ProxySpec:
    """With port 0, ask for the port the proxy already has, so that `populate` does not move it."""
    host, port = split_address(spec.listen)
    if (
        port
        or existing is None
        or existing.upstream != spec.upstream
        or existing.address[0] != host
    ):
        return spec
    return ProxySpec(spec.name, spec.upstream, existing.listen, spec.enabled)


def _matching(proxy: Proxy, spec: ProxySpec) -> Proxy:
    """The proxy, if it is what was asked for. A host name may come back resolved; a port 0 chosen
    once enabled.
    """
    port, asked = proxy.address[1], split_address(spec.listen)[1]
    port_ok = port == asked if asked else (port > 0 or not spec.enabled)
    if (proxy.name, proxy.upstream, proxy.enabled) != (
        spec.name,
        spec.upstream,
        spec.enabled,
    ) or not port_ok:
        raise ToxicNotApplied(f"proxy {spec.name!r}: asked for {spec}, read back {proxy}")
    return proxy
