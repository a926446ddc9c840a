"""The stores of a target document: where data rests, who asks it there and how, and what is read
back when the load has ended.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stormgate import model
from stormgate.documents.shapes import Shape
from stormgate.documents.values import PositiveSeconds, Seconds, show, wrong
from stormgate.net.references import REFERENCE

# What each reader needs (one of each group), and what else it takes.
_NEEDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "postgres": (("address",),),
    "redis": (("address",),),
    "http": (("url",), ("values",)),
    "file": (("path",),),
    "command": (("read", "scan"),),
}
_TAKES: dict[str, set[str]] = {
    "postgres": {"address", "database", "user", "password", "query"},
    "redis": {"address", "user", "password", "key"},
    "http": {"url", "values", "headers"},
    "file": {"path"},
    "command": {"read", "scan"},
}
_COMMON = {"name", "reader", "region", "holds", "control"}
_ADDRESS = r"^(\[[0-9a-fA-F:]+\]|[^\s:/]+):[0-9]{1,5}$|^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"


def _reference(value: str) -> str:
    if value and not REFERENCE.fullmatch(value):
        raise wrong("a password stands in plain text", "write it as ${ENV} and set that variable")
    return value


def _keyed(value: str) -> str:
    if "{key}" not in value:
        raise wrong(f"{show(value)} asks for no key", "put {key} where the key goes")
    return value


def _query(value: str) -> str:
    if "%(keys)s" not in value:
        fix = (
            "select key and version of them: SELECT key, version FROM ... WHERE key = ANY(%(keys)s)"
        )
        raise wrong(f"{show(value)} asks for no keys", fix)
    return value


def _pointer(value: str) -> str:
    if not re.fullmatch(r"(/[^/]+)+", value):
        raise wrong(f"{show(value)} is no JSON pointer", "write /versions or /data/version")
    return value


def _words(value: list[str]) -> list[str]:
    for word in value:
        if found := REFERENCE.search(word):
            raise wrong(
                f"{found[0]} among a command's words would be shown by ps to everyone",
                f"the command finds {found[1]} in its environment",
            )
    return value


Argv = Annotated[list[str], AfterValidator(_words)]


class StoreShape(Shape):
    """A place where data rests, or a region's own door to it, asked past the users' way."""

    name: str = Field(min_length=1, max_length=200)
    reader: Literal["postgres", "redis", "http", "file", "command"]
    region: str | None = None
    address: str = Field(default="", pattern=_ADDRESS)
    database: str = "postgres"
    user: str = ""
    password: Annotated[str, AfterValidator(_reference)] = ""
    query: Annotated[str, AfterValidator(_query)] = ""
    key: Annotated[str, AfterValidator(_keyed)] = ""
    url: Annotated[str, AfterValidator(_keyed)] = ""
    values: list[Annotated[str, AfterValidator(_pointer)]] = Field(default_factory=list)
    headers: dict[str, str] = Field(default_factory=dict)
    path: str = ""
    read: Argv = Field(default_factory=list)
    scan: Argv = Field(default_factory=list)
    holds: list[str] = Field(default_factory=list)
    control: str = ""

    @model_validator(mode="after")
    def _fits_reader(self) -> Self:
        given = self.model_fields_set
        for group in _NEEDS[self.reader]:
            if not given & set(group):
                raise wrong(
                    f"store {self.name!r}: reader {self.reader} without {' or '.join(group)}",
                    f"add {group[0]}",
                )
        if strange := sorted(given - _COMMON - _TAKES[self.reader]):
            takes = ", ".join(sorted(_TAKES[self.reader]))
            raise wrong(
                f"store {self.name!r}: reader {self.reader} takes no {strange[0]}",
                f"it takes {takes}",
            )
        return self

    def to_model(self) -> model.Store:
        """As the plan has it."""
        fields: dict[str, Any] = self.model_dump()
        fields = {n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()}
        return model.Store(**fields)


class FinalReadShape(Shape):
    """How data is read back when the load has ended."""

    after: Seconds = 1.0
    within: PositiveSeconds = 20.0
    most_keys: int = Field(default=2000, ge=1, le=1_000_000)
    scan_every: PositiveSeconds = 10.0
    scan_within: PositiveSeconds = 10.0

    def to_model(self) -> model.FinalRead:
        """As the plan has it."""
        return model.FinalRead(
            after_s=self.after,
            within_s=self.within,
            most_keys=self.most_keys,
            scan_every_s=self.scan_every,
            scan_within_s=self.scan_within,
        )
