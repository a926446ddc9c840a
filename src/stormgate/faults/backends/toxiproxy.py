"""Break links through a Toxiproxy server: refuse, blackhole, slow, bandwidth, lossy.

Fidelity (docs/faults.md): Toxiproxy works on bytes of accepted connections, so a black-holed link
still completes the TCP handshake, and "lossy" ends a share of the connections instead of dropping
packets.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from stormgate.faults.backends import Backend, FaultRequest, Observation, Params, Record
from stormgate.faults.declared import (
    MOST_KB_PER_S,
    CheckRow,
    Handle,
    Milliseconds,
    Parameters,
    Whole,
)
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed
from stormgate.faults.proof import NARROW_MIN_MS, added_latency_ms, shows, silence_s
from stormgate.model import Component, Observe, Target, from_json, to_json
from stormgate.net.look import State, look, padding_sent
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.errors import ToxiproxyError
from stormgate.toxiproxy.modes import changed_toxics, ensure, stand_again, wanted_toxics

_TIMEOUT_S = 2.0
_ASK_S = 0.5
_LOOK_S = 3.0
_LOOKS = 3
_PADDING = 60_000
# With a share of 0.2 the chance to meet no broken connection in so many tries is 0.8 ** 40 = 0.01
# %.
_TRIES = 40


class ToxiproxyHandle(Handle):
    """The server's API at `url`, and the name of its proxy that is this link."""

    url: str
    proxy: str = Field(min_length=1)

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:  # a port that is none
            known = False
        if not known or "$" in url:
            raise ValueError(f"{url!r} is not the address of a Toxiproxy server: http://host:port")
        if parts.username or parts.password:
            raise ValueError("a URL carries credentials, which would enter the evidence")
        return url


class Slow(Parameters):
    """`latency_ms` more on every round trip, give or take `jitter_ms`."""

    latency_ms: Milliseconds = Field(ge=1)
    jitter_ms: Milliseconds = 0

    @model_validator(mode="after")
    def _can_be_seen(self) -> Self:
        if self.jitter_ms >= self.latency_ms:
            raise ValueError(
                f"jitter_ms {self.jitter_ms} leaves nothing of latency_ms {self.latency_ms} "
                "that could be proven"
            )
        return self


class Bandwidth(Parameters):
    """How much passes each way, KB/s."""

    rate_kb_per_s: Whole = Field(ge=1, le=MOST_KB_PER_S)


class Lossy(Parameters):
    """The `share` of connections that is reset `after_ms`."""

    share: float = Field(gt=0, le=1)
    after_ms: Milliseconds = 0


class ToxiproxyBackend(Backend):
    """Toxics are named `stormgate_<token>_...`; only those are ever removed."""

    handle = ToxiproxyHandle
    modes: ClassVar[Mapping[str, type[Parameters]]] = {
        "refuse": Parameters,
        "blackhole": Parameters,
        "slow": Slow,
        "bandwidth": Bandwidth,
        "lossy": Lossy,
    }

    def hosts(self, handle: Mapping[str, Any]) -> tuple[str, ...]:
        url = str(handle.get("url", ""))
        return (urlsplit(url).hostname or url,) if url else ()

    def observed_at(self, part: Component, target: Target) -> Observe | None:
        """Through the link, in the protocol of what it leads to."""
        try:
            proxy = Client(str(part.handle["url"]), _TIMEOUT_S).get(str(part.handle["proxy"]))
        except ToxiproxyError as error:
            raise CannotBreak(f"{part.name}: {error}") from error
        return _probe(part, target, proxy.listen)

    def are_gone(self, parts: Sequence[Component]) -> bool:
        return not any(_answers(url) for url in {str(part.handle.get("url")) for part in parts})

    def arrivals(self, part: Component) -> tuple[str, ...]:
        """Where the link listens. A server that cannot be asked is `plan`'s to refuse."""
        try:
            proxy = Client(str(part.handle["url"]), _TIMEOUT_S).get(str(part.handle["proxy"]))
        except ToxiproxyError:
            return ()
        return (proxy.listen,)

    def check(self, part: Component, modes: Collection[str], target: Target) -> Sequence[CheckRow]:
        url, name = str(part.handle["url"]), str(part.handle["proxy"])
        client = Client(url, _TIMEOUT_S)
        try:
            proxies = client.proxies()
        except ToxiproxyError as error:
            fix = f"start it (`stormgate wire` does, for a target's links) at {url}, or correct url"
            return [CheckRow("server", False, str(error), fix)]
        proxy = proxies.get(name)
        if proxy is None:
            has = ", ".join(sorted(proxies)) or "none"
            fix = "make that proxy, or correct the handle's proxy"
            return [CheckRow("proxy", False, f"no proxy {name!r} at {url} (it has {has})", fix)]
        way = f"{proxy.listen} -> {proxy.upstream}"
        if not proxy.enabled:
            fix = f"enable it, if nobody else means it to be off (`stormgate restore`): {url}"
            return [CheckRow("proxy", False, f"{name} ({way}) is disabled", fix)]
        if proxy.toxics:
            left = ", ".join(toxic.name for toxic in proxy.toxics)
            ours = any(toxic.name.startswith("stormgate_") for toxic in proxy.toxics)
            fix = "stormgate restore" if ours else "remove them, or they are part of what is judged"
            return [CheckRow("proxy", not ours, f"{name} ({way}) has toxics: {left}", fix)]
        rows = [CheckRow("proxy", True, f"{name} ({way})")]
        return rows + ([_passes(part, modes, _probe(part, target, proxy.listen))] if modes else [])

    def plan(self, request: FaultRequest) -> Record:
        part, mode = request.part, request.mode
        toxics = wanted_toxics(mode, request.params, f"stormgate_{request.token}")
        url, name = str(part.handle["url"]), str(part.handle["proxy"])
        try:
            proxy = Client(url, _TIMEOUT_S).get(name)
        except ToxiproxyError as error:
            raise CannotBreak(f"{part.name}: {error}") from error
        if not proxy.enabled:
            raise NotWhole(f"{part.name}: its proxy {name!r} is already disabled")
        probe = _probe(part, request.target, proxy.listen)
        params = dict(request.params)
        before_ms = self._before_ms(part, mode, params, probe)
        return {
            "mode": mode,
            "url": url,
            "proxy": name,
            "listen": proxy.listen,
            "upstream": proxy.upstream,
            "enabled": proxy.enabled,
            "toxics": toxics,
            "probe": to_json(probe),
            "direct": _direct(part, request.target),
            "params": params,
            "before_ms": before_ms,
        }

    def _before_ms(
        self, part: Component, mode: str, params: dict[str, Any], probe: Observe
    ) -> float:
        if mode == "refuse":
            return 0.0
        if probe.protocol == "tcp":
            raise CannotBreak(
                f"{part.name}: {mode} cannot be seen on a bare tcp port; give its destination "
                "an `observe` that answers"
            )
        if mode == "bandwidth":
            params["padding_bytes"] = padding_sent(probe, _PADDING)
            if added_latency_ms(mode, params) < NARROW_MIN_MS:
                raise CannotBreak(
                    f"{part.name}: {params['rate_kb_per_s']} KB/s is too wide to be told from "
                    f"no limit by {probe.protocol}"
                )
        # The quickest of a few: one slow look would hide a delay that is added to the usual.
        looks = [
            look(probe, _LOOK_S, padding=int(params.get("padding_bytes", 0))) for _ in range(_LOOKS)
        ]
        for before in looks:
            if before.state is not State.ANSWERS:
                raise NotWhole(
                    f"{part.name}: before the fault it was already {before} through {probe.address}"
                )
        return min(before.latency_ms for before in looks)

    def apply(self, part: Component, record: Record, stop: threading.Event) -> None:
        client = Client(str(record["url"]), _TIMEOUT_S)
        try:
            if record["mode"] == "refuse":
                client.set_enabled(str(record["proxy"]), False)
            for toxic in record["toxics"]:
                ensure(client, str(record["proxy"]), toxic)
        except ToxiproxyError as error:
            raise NotApplied(f"{part.name}: {error}") from error

    def changed(self, part: Component, record: Record, params: Params) -> Record | None:
        told = dict(params)
        if "padding_bytes" in record["params"]:
            told["padding_bytes"] = record["params"]["padding_bytes"]
        return {**record, "params": told, "toxics": changed_toxics(record, params)}

    def keep(self, part: Component, record: Record, *, standing: bool) -> str:
        try:
            client = Client(str(record["url"]), _TIMEOUT_S)
            return stand_again(client, record, standing=standing)
        except ToxiproxyError as error:
            raise NotApplied(f"{part.name}: {error}") from error

    def undo(self, part: Component, record: Record, timeout_s: float) -> None:
        client = Client(str(record["url"]), min(_TIMEOUT_S, max(timeout_s, 0.1)))
        try:
            for toxic in record["toxics"]:
                client.ensure_no_toxic(str(record["proxy"]), toxic["name"])
            if record["mode"] == "refuse":
                client.ensure_enabled(str(record["proxy"]), bool(record["enabled"]))
        except ToxiproxyError as error:
            raise UndoFailed(f"{part.name}: {error}") from error

    def in_effect(self, part: Component, record: Record) -> Observation:
        mode, before_ms, params = str(record["mode"]), float(record["before_ms"]), record["params"]
        probe = from_json(Observe, record["probe"])
        timeout_s = silence_s(before_ms)
        if mode in {"slow", "bandwidth"}:
            timeout_s += 2 * added_latency_ms(mode, params) / 1000
        if mode == "lossy":
            return _lossy_in_effect(probe, before_ms, timeout_s)
        now = look(probe, timeout_s, padding=int(params.get("padding_bytes", 0)))
        seen = shows(mode, params, before_ms, now)
        return Observation(seen.seen, f"{probe.address} {seen.saw}")

    def is_whole(self, part: Component, record: Record) -> Observation:
        try:
            proxy = Client(str(record["url"]), _TIMEOUT_S).get(str(record["proxy"]))
        except ToxiproxyError as error:
            return Observation(False, str(error))
        ours = {toxic["name"] for toxic in record["toxics"]}
        left = [toxic.name for toxic in proxy.toxics if toxic.name in ours]
        if left or proxy.enabled != record["enabled"]:
            return Observation(
                False,
                f"proxy {proxy.name!r}: enabled={proxy.enabled}, toxics left: "
                f"{', '.join(left) or 'none'}",
            )
        probe = from_json(Observe, record["probe"])
        if (
            record["direct"] is None
            or not look(from_json(Observe, record["direct"]), _LOOK_S).healthy
        ):
            # What the link leads to does not answer itself, so only the link's own port can be
            # asked.
            dial = look(Observe(protocol="tcp", address=probe.address), _LOOK_S)
            return Observation(
                dial.state in {State.ANSWERS, State.RESET},
                f"{probe.address} takes connections: {dial}",
            )
        now = look(probe, _LOOK_S)
        return Observation(now.state is State.ANSWERS, f"{probe.address} {now}")


def _answers(url: str) -> bool:
    try:
        Client(url, _ASK_S).version()
    except ToxiproxyError:
        return False
    return True


def _destination(part: Component, target: Target) -> Component | None:
    name = part.attributes.get("destination")
    return next((component for component in target.components if component.name == name), None)


def _probe(part: Component, target: Target, listen: str) -> Observe:
    """How to look through the link: in the protocol of what it leads to."""
    # A link's own `observe` is often a bare port; what it leads to answers, and only an answer
    # shows delay or silence.
    destination = _destination(part, target)
    candidates = [destination.observe if destination is not None else None, part.observe]
    template = next(
        (each for each in candidates if each is not None and each.protocol != "tcp"), None
    )
    if template is None:
        return Observe(protocol="tcp", address=listen)
    return Observe(protocol=template.protocol, address=listen, path=template.path)


def _direct(part: Component, target: Target) -> dict[str, Any] | None:
    destination = _destination(part, target)
    return (
        to_json(destination.observe)
        if destination is not None and destination.observe is not None
        else None
    )


def _passes(part: Component, modes: Collection[str], probe: Observe) -> CheckRow:
    """Whether the link carries an answer, as every fault on it will have to be seen by."""
    if probe.protocol == "tcp" and set(modes) - {"refuse"}:
        saw = f"{', '.join(sorted(set(modes) - {'refuse'}))} cannot be seen on a bare tcp port"
        fix = f"give what {part.name} leads to an `observe` that answers, and name it destination"
        return CheckRow("through it", False, saw, fix)
    now = look(probe, _LOOK_S)
    fix = "correct the proxy's upstream, or start what it leads to"
    return CheckRow("through it", now.healthy, f"{probe.protocol} at {probe.address} {now}", fix)


def _lossy_in_effect(probe: Observe, before_ms: float, timeout_s: float) -> Observation:
    broken = 0
    for tried in range(1, _TRIES + 1):
        now = look(probe, timeout_s)
        broken += shows("lossy", {}, before_ms, now).seen
        if broken:
            return Observation(
                True, f"{probe.address}: {broken} of {tried} connections broke ({now})"
            )
    return Observation(False, f"{probe.address}: none of {_TRIES} connections broke")


BACKEND = ToxiproxyBackend()
