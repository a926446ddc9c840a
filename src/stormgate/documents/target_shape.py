"""The form of a target document: what it may say, before it is held against anything else."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from stormgate.documents.links.shape import LinkShape
from stormgate.documents.problems import nearest
from stormgate.documents.shapes import Ours, Shape, explain
from stormgate.documents.stores.shape import FinalReadShape, StoreShape
from stormgate.documents.traffic.populations import MixedShape
from stormgate.documents.values import Name, PositiveMilliseconds, Share, show, wrong
from stormgate.faults import backends

PROVISIONERS = ("lab",)
SHARE_TOLERANCE = 1e-6
SECRET_HEADER = re.compile(r"authorization|cookie|token|secret|password|api-?key", re.IGNORECASE)


class PlaceShape(Shape):
    """A position on Earth, degrees."""

    name: str = Field(min_length=1, max_length=100)
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class RegionShape(PlaceShape):
    """A place where the target runs."""

    continent: str | None = None


def _ip_address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value):
        raise wrong(f"{show(value)} is not the name of a header", "use letters, digits and dashes")
    return value


def _header_value(value: str) -> str:
    if not re.fullmatch(r"[\t -~\x80-\xff]*", value):
        fix = "a header is one line of Latin-1 text"
        raise wrong(f"{show(value)} cannot be sent as a header", fix)
    return value


def _port(value: str) -> str:
    """An address whose port exists."""
    port = value.rpartition(":")[2]
    if port.isdigit() and not 1 <= int(port) <= 65535:
        raise wrong(f"{value!r} has no port that exists", "ports are 1 to 65535")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]


class PopulationShape(PlaceShape):
    """Users in one place: their share of the traffic, and how they reach each edge, nearest
    first.
    """

    share: Share
    edges: list[str] = Field(default_factory=list)
    links: dict[str, str] = Field(default_factory=dict)
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    proxy_source: Annotated[str, AfterValidator(_ip_address)] | None = None
    last_mile: PositiveMilliseconds | None = None


class RoundTripShape(Shape):
    """The round trip between two places of the target (regions, populations, edges), where
    somebody measured it.
    """

    between: list[str] = Field(min_length=2, max_length=2)
    takes: PositiveMilliseconds


class ObserveShape(Shape):
    """How a component is looked at from outside, not through what breaks it."""

    protocol: Literal["http", "redis", "postgres", "tcp"]
    address: Annotated[str, AfterValidator(_port)] = Field(
        pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:/]+):[0-9]{1,5}$|^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"
    )
    path: str = Field(default="/healthz", pattern=r"^/[!-~]*$")


def _is_backend(value: str) -> str:
    if value not in backends.writable():
        fix = nearest(value, backends.writable(), what="there are")
        raise wrong(f"no backend is called {value!r}", fix)
    return value


class ComponentShape(Shape):
    """A thing that can break, and the backend that can break it."""

    name: str = Field(min_length=1, max_length=200)
    kind: str = Field(min_length=1)
    backend: Annotated[str, AfterValidator(_is_backend)]
    region: str | None = None
    handle: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    parts: list[str] = Field(default_factory=list)
    observe: ObserveShape | None = None
    attributes: dict[str, str] = Field(default_factory=dict)
    traffic: Literal["seen", "none", "assured"] = "seen"

    @field_validator("handle")
    @classmethod
    def _fits_backend(cls, handle: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        name = info.data.get("backend")
        if name is None:  # an unknown backend has been noted
            return {}
        model = backends.get(name).handle
        try:
            return model.model_validate(handle).model_dump()
        except ValidationError as error:
            found = []
            for one in error.errors(include_url=False):
                loc, message, fix = explain(model, one)
                found.append(InitErrorDetails(type=wrong(message, fix), loc=loc, input=None))
            raise ValidationError.from_exception_data(f"handle of {name}", found) from None

    @model_validator(mode="after")
    def _parts_fit_backend(self) -> Self:
        if backends.get(self.backend).of_parts != bool(self.parts):
            groups = [name for name in backends.writable() if backends.get(name).of_parts]
            raise wrong(
                f"component {self.name!r}: parts belong to backend {' or '.join(groups)}, and a "
                "component of it has at least one",
                "list its parts",
            )
        return self


class SteeringShape(Shape):
    """How users are moved between edges."""

    mode: Literal["static", "dns", "table"] = "static"
    url: str | None = None
    interval: PositiveMilliseconds = 250.0


def _or_mixed(schema: dict[str, Any]) -> None:
    """Populations may also be those of a mix."""
    listed = {key: schema.pop(key) for key in ("items", "minItems", "type") if key in schema}
    schema["anyOf"] = [listed, MixedShape.model_json_schema(by_alias=True)]


class TargetSpec(Shape):
    """What a target consists of. With `provision` Stormgate starts it itself and fills in the
    addresses.
    """

    environment: Literal["laboratory", "test", "staging", "production"] = "laboratory"
    allow: list[str] = Field(default_factory=lambda: ["127.0.0.0/8", "::1/128"], min_length=1)
    provision: dict[str, dict[str, Any] | None] | None = None
    regions: list[RegionShape] = Field(min_length=1)
    populations: list[PopulationShape] = Field(min_length=1, json_schema_extra=_or_mixed)
    rtt: list[RoundTripShape] = Field(default_factory=list)
    components: list[ComponentShape] = Field(default_factory=list)
    links: list[LinkShape] = Field(default_factory=list)
    toxiproxy: str | None = Field(default=None, pattern=r"^http://(\[[0-9a-f:]+\]|[^\s:/@]+):\d+$")
    steering: SteeringShape = Field(default_factory=SteeringShape)
    observe: dict[str, str] = Field(default_factory=dict)
    status_url: str | None = None
    attributes: dict[str, str] = Field(default_factory=dict)
    stores: list[StoreShape] = Field(default_factory=list)
    canaries: dict[Name, Annotated[str, Field(min_length=6, max_length=100)]] = Field(
        default_factory=dict
    )
    final_read: FinalReadShape = Field(default_factory=FinalReadShape)


class TargetDocument(Ours):
    """The system on trial."""

    kind: Literal["Target"]
    spec: TargetSpec
