"""The form of a target document: what it may say, before it is held against anything else."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stormgate.documents.shapes import Ours, Shape
from stormgate.documents.values import PositiveMilliseconds, Share, wrong

BACKENDS = ("process", "toxiproxy", "command", "kubernetes", "aws", "group")
PROVISIONERS = ("lab",)
SHARE_TOLERANCE = 1e-6
SECRET_HEADER = re.compile(r"authorization|cookie|token|secret|password|api-?key", re.IGNORECASE)


class Place(Shape):
    """A position on Earth, degrees."""

    name: str = Field(min_length=1, max_length=100)
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class RegionShape(Place):
    """A place where the target runs."""

    continent: str | None = None


def _ip_address(value: str) -> str:
    return str(ipaddress.ip_address(value))


class PopulationShape(Place):
    """Users in one place: their share of the traffic, and how they reach each edge, nearest
    first.
    """

    share: Share
    edges: list[str] = Field(default_factory=list)
    links: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    proxy_source: Annotated[str, AfterValidator(_ip_address)] | None = None


class ObserveShape(Shape):
    """How a component is looked at from outside, not through what breaks it."""

    protocol: Literal["http", "redis", "postgres", "tcp"]
    address: str = Field(
        pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:/]+):[0-9]{1,5}$|^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"
    )
    path: str = Field(default="/healthz", pattern="^/")


class HandleShape(Shape):
    """What a backend needs to break a component and bring it back. Which keys: see the backend."""

    pid_file: str | None = None
    start: list[str] | None = None
    url: str | None = None
    proxy: str | None = None
    apply: dict[str, list[str]] | None = None
    undo: dict[str, list[str]] | None = None
    observe: list[str] | None = None
    context: str | None = None
    namespace: str | None = None
    selector: str | None = None
    region: str | None = None
    resource: str | None = None


HANDLE_KEYS = {
    "process": {"pidFile", "start"},
    "toxiproxy": {"url", "proxy"},
    "command": {"apply", "undo", "observe"},
    "group": set[str](),
}


class ComponentShape(Shape):
    """A thing that can break, and the backend that can break it."""

    name: str = Field(min_length=1, max_length=200)
    kind: str = Field(min_length=1)
    backend: Literal["process", "toxiproxy", "command", "kubernetes", "aws", "group"]
    region: str | None = None
    handle: HandleShape = Field(default_factory=HandleShape)
    parts: list[str] = Field(default_factory=list)
    observe: ObserveShape | None = None
    attributes: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _handle_fits_backend(self) -> Self:
        given = set(self.handle.model_dump(by_alias=True, exclude_none=True))
        needed = HANDLE_KEYS.get(self.backend)
        if needed is not None and given != needed:
            listed = ", ".join(sorted(needed)) or "nothing"
            raise wrong(
                f"component {self.name!r}: backend {self.backend} needs handle keys {listed}",
                "write exactly those keys",
            )
        if (self.backend == "group") != bool(self.parts):
            raise wrong(
                f"component {self.name!r}: parts belong to backend group, and a group has at "
                "least one",
                "list its parts",
            )
        return self


class SteeringShape(Shape):
    """How users are moved between edges."""

    mode: Literal["static", "dns", "table"] = "static"
    url: str | None = None
    interval: PositiveMilliseconds = 250.0


class TargetSpec(Shape):
    """What a target consists of. With `provision` Stormgate starts it itself and fills in the
    addresses.
    """

    environment: Literal["laboratory", "test", "staging", "production"] = "laboratory"
    allow: list[str] = Field(default_factory=lambda: ["127.0.0.0/8", "::1/128"], min_length=1)
    provision: dict[str, dict[str, Any] | None] | None = None
    regions: list[RegionShape] = Field(min_length=1)
    populations: list[PopulationShape] = Field(min_length=1)
    components: list[ComponentShape] = Field(default_factory=list)
    steering: SteeringShape = Field(default_factory=SteeringShape)
    observe: dict[str, str] = Field(default_factory=dict)
    status_url: str | None = None
    attributes: dict[str, str] = Field(default_factory=dict)


class TargetDocument(Ours):
    """The system on trial."""

    kind: Literal["Target"]
    spec: TargetSpec
