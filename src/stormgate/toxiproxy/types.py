"""Proxies and toxics as values, and the checks the real server omits.

Toxiproxy ignores unknown attributes, takes negative ones and any toxicity, and dies of a slicer of
size 0: a misspelt fault would then be accepted and do nothing. All of that is refused here, before
anything is sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stormgate.toxiproxy.errors import InvalidRequest, UnexpectedAnswer
from stormgate.toxiproxy.toxics import TOXICS

Stream = Literal["upstream", "downstream"]
STREAMS: tuple[Stream, ...] = ("upstream", "downstream")

# Attribute names per toxic type, all integers: latency, jitter, delay, timeout in ms (slicer's
# delay in microseconds), rate in KB/s, sizes in bytes.
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    name: kind.attribute_names() for name, kind in TOXICS.items()
}
# Go multiplies milliseconds into an int64 of nanoseconds; past this it overflows into a negative
# sleep.
ATTRIBUTE_MAX = (2**63 - 1) // 1_000_000


@dataclass(frozen=True, slots=True)
class Toxic:
    """One fault on one direction of a proxy. `toxicity` is the share of connections it acts on, 0
    to 1.
    """

    name: str
    type: str
    stream: Stream
    toxicity: float
    attributes: Mapping[str, int] = field(hash=False)

    @classmethod
    def from_json(cls, data: object) -> Toxic:
        """Raises UnexpectedAnswer when `data` is not a toxic as Toxiproxy writes one."""
        if not isinstance(data, dict):
            raise UnexpectedAnswer(f"expected a toxic, got {data!r:.200}")
        # The server takes a stream in any case and gives it back as written; noxious calls it
        # `direction`.
        stream = str(data.get("stream", data.get("direction"))).lower()
        try:
            attributes = {str(key): int(value) for key, value in (data["attributes"] or {}).items()}
            if stream not in STREAMS:
                raise ValueError(stream)
            return cls(
                str(data["name"]), str(data["type"]), stream, float(data["toxicity"]), attributes
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnexpectedAnswer(f"expected a toxic, got {data!r:.200}") from error


@dataclass(frozen=True, slots=True)
class Proxy:
    """One listening address and where it leads."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[Toxic, ...] = ()

    @property
    def address(self) -> tuple[str, int]:
        """Where to connect: host and port of `listen` (port 0: never enabled yet)."""
        return split_address(self.listen)

    @classmethod
    def from_json(cls, data: object) -> Proxy:
        """Raises UnexpectedAnswer when `data` is not a proxy as Toxiproxy writes one."""
        if not isinstance(data, dict):
            raise UnexpectedAnswer(f"expected a proxy, got {data!r:.200}")
        try:
            if not isinstance(data["enabled"], bool):
                raise TypeError("enabled")
            toxics = tuple(Toxic.from_json(item) for item in data.get("toxics") or ())
            return cls(
                str(data["name"]),
                str(data["listen"]),
                str(data["upstream"]),
                data["enabled"],
                toxics,
            )
        except (KeyError, TypeError) as error:
            raise UnexpectedAnswer(f"expected a proxy, got {data!r:.200}") from error


@dataclass(frozen=True, slots=True)
class ProxySpec:
    """A proxy to be made. Port 0 in `listen` lets the server choose one."""

    name: str
    upstream: str
    listen: str = "127.0.0.1:0"
    enabled: bool = True


def split_address(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` to its parts. Raises InvalidRequest."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidRequest(f"address {text!r} must be host:port with a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise InvalidRequest(f"address {text!r}: write an IPv6 host in brackets, [{host}]:{port}")
    return host, int(port)


def check_name(name: str, what: str) -> str:
    """A name must survive a round trip through a URL path. Raises InvalidRequest."""
    if not name or name in {".", ".."} or re.search(r"[/\x00-\x1f\x7f]", name):
        raise InvalidRequest(
            f"{what} name {name!r} must not be empty, '.', '..' or hold '/' or control characters"
        )
    return name


def check_spec(spec: ProxySpec) -> ProxySpec:
    """Raises InvalidRequest for what the server would accept now and fail at later (it never
    validates an upstream).
    """
    check_name(spec.name, "proxy")
    split_address(spec.listen)
    host, port = split_address(spec.upstream)
    if not host or port == 0:
        raise InvalidRequest(
            f"proxy {spec.name!r}: upstream {spec.upstream!r} needs a host and a port above 0"
        )
    return spec


def check_toxic(type_: str, attributes: Mapping[str, int], stream: str, toxicity: float) -> None:
    """Raises InvalidRequest with every reason at once."""
    problems = []
    known = ATTRIBUTES.get(type_)
    if known is None:
        problems.append(f"unknown toxic type {type_!r}; one of {', '.join(ATTRIBUTES)}")
    else:
        problems += _attribute_problems(type_, known, attributes)
    if stream not in STREAMS:
        problems.append(f"stream {stream!r} must be upstream or downstream")
    if (
        isinstance(toxicity, bool)
        or not isinstance(toxicity, int | float)
        or not 0 <= toxicity <= 1
    ):
        problems.append(f"toxicity {toxicity!r} must be between 0 and 1")
    if problems:
        raise InvalidRequest("; ".join(problems))


def _attribute_problems(
    type_: str, known: tuple[str, ...], attributes: Mapping[str, int]
) -> list[str]:
    problems = []
    for key, value in attributes.items():
        if key not in known:
            has = f"has only {', '.join(known)}" if known else "has none"
            problems.append(f"unknown attribute {key!r}: {type_} {has}")
        elif isinstance(value, bool) or not isinstance(value, int):
            problems.append(f"{type_}.{key} must be an integer, not {value!r}")
        elif not 0 <= value <= ATTRIBUTE_MAX:
            problems.append(f"{type_}.{key} must be between 0 and {ATTRIBUTE_MAX}, not {value}")
    return problems or TOXICS[type_].problems(attributes)


def with_defaults(type_: str, attributes: Mapping[str, int]) -> dict[str, int]:
    """All attributes of the type; those not given are 0, as in the server."""
    return {name: attributes.get(name, 0) for name in ATTRIBUTES[type_]}


def same_toxicity(a: float, b: float) -> bool:
    """The server keeps toxicity in a float32."""
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-7)
