"""Putting Toxiproxy in front of what a target names as its links: the server, where none answers
yet, and a proxy for each link; and how the services are told.

A server that runs already is somebody's: it is used, only the proxies made here are taken away
again, and one of the same name that leads elsewhere is an error, never replaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stormgate.model import Component, Target
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.errors import ProxyNotFound, ServerUnreachable, ToxiproxyError
from stormgate.toxiproxy.server import URL_VARIABLE, RunningServer, find_server, launch

_ASK_S = 3.0


class WiringError(RuntimeError):
    """Why a target cannot be wired, and what to do."""


@dataclass(frozen=True, slots=True)
class LinkWire:
    """One proxy: whoever is told `listen` by the variable `env` reaches `upstream` through it."""

    link: str
    source: str
    url: str
    proxy: str
    listen: str
    upstream: str
    env: str


@dataclass(frozen=True, slots=True)
class Wired:
    """What stands: the server (`launched`: by us, and ends with us), and the proxies made here."""

    client: Client
    made: tuple[str, ...]
    launched: RunningServer | None

    def alive(self) -> bool:
        """Whether the server still runs, as far as it is ours to know."""
        process = self.launched.process if self.launched else None
        return process is None or process.poll() is None

    def end(self) -> None:
        """Take away what was made; idempotent."""
        if self.launched is not None:
            self.launched.stop()
            return
        for name in self.made:
            try:
                self.client.ensure_deleted(name)
            except ToxiproxyError:
                return  # the server is gone, and its proxies with it


def wires(target: Target) -> list[LinkWire]:
    """The proxies that the links of a target are made of; proxies of one's own are not among
    them.
    """
    return [
        LinkWire(
            link=one.name,
            source=one.attributes["source"],
            url=str(one.handle["url"]),
            proxy=str(one.handle["proxy"]),
            listen=one.attributes["listen"],
            upstream=one.attributes["upstream"],
            env=one.attributes["env"],
        )
        for one in target.components
        if one.kind == "link" and {"upstream", "listen", "env"} <= set(one.attributes)
    ]


def wire_up(found: list[LinkWire], log_path: Path) -> Wired:
    """Make the proxies, on the server that answers at their URL, else on one of ours there. Raises
    WiringError; then nothing of ours is left.
    """
    url = found[0].url
    client = Client(url, _ASK_S)
    launched = None
    try:
        client.version()
    except ServerUnreachable:
        launched = _launch(url, log_path)
    except ToxiproxyError as error:
        raise WiringError(f"what answers at {url} is no Toxiproxy: {error}") from error
    made: list[str] = []
    try:
        for one in found:
            if _make(client, one):
                made.append(one.proxy)
    except BaseException as error:
        Wired(client, tuple(made), launched).end()
        if isinstance(error, ToxiproxyError):
            raise WiringError(str(error)) from error
        raise
    return Wired(client, tuple(made), launched)


def _launch(url: str, log_path: Path) -> RunningServer:
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 8474
    if not (host in {"localhost", "::1"} or host.startswith("127.")):
        raise WiringError(
            f"no Toxiproxy answers at {url}, and only one on this machine can be started here: "
            "start it there"
        )
    environment = {name: value for name, value in os.environ.items() if name != URL_VARIABLE}
    try:
        return launch(find_server(environment), host=host, port=port, log_path=log_path)
    except (ToxiproxyError, OSError) as error:
        raise WiringError(f"no Toxiproxy could be started at {url}: {error}") from error


def _make(client: Client, wire: LinkWire) -> bool:
    """Whether it had to be made. Raises WiringError for another of its name, ToxiproxyError."""
    try:
        there = client.get(wire.proxy)
    except ProxyNotFound:
        client.create(wire.proxy, wire.upstream, wire.listen)
        return True
    if (there.listen, there.upstream) != (wire.listen, wire.upstream):
        raise WiringError(
            f"{wire.url} has a proxy {wire.proxy!r} already, {there.listen} -> {there.upstream}, "
            f"and {wire.link} wants {wire.listen} -> {wire.upstream}: give the link another proxy"
        )
    return False


def environment_lines(found: Iterable[LinkWire]) -> list[str]:
    """`NAME=host:port` for each link, once."""
    return list(dict.fromkeys(f"{one.env}={one.listen}" for one in found))


def compose_override(target: Target, found: Iterable[LinkWire]) -> str:
    """A file for `docker compose -f … -f …` that tells each service its addresses, as they are seen
    from within a container; empty where no link comes from a service.
    """
    known = {one.name: one for one in target.components}
    services: dict[str, list[LinkWire]] = {}
    for one in found:
        if one.source in known:
            services.setdefault(_service(known[one.source]), []).append(one)
    if not services:
        return ""
    lines = ["services:"]
    for name, own in services.items():
        lines += [
            f"  {name}:",
            '    extra_hosts: ["host.docker.internal:host-gateway"]',
            "    environment:",
            *(
                f'      {one.env}: "host.docker.internal:{one.listen.rpartition(":")[2]}"'
                for one in own
            ),
        ]
    return "\n".join(lines) + "\n"


def _service(component: Component) -> str:
    return str(component.handle.get("compose") or component.name.rpartition("/")[2])
