"""The shape every document has, and how a misfit is explained with its line and the nearest allowed
word.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from stormgate.documents.problems import Problems, nearest
from stormgate.documents.values import Name, show
from stormgate.documents.yamlfile import Document, Loc

API_VERSION = "stormgate.dev/v1"

ShapeT = TypeVar("ShapeT", bound=BaseModel)


class Shape(BaseModel):
    """A mapping in a document: camelCase keys, nothing else accepted, no value coerced."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class Metadata(Shape):
    """Who a document is."""

    name: Name
    display_name: str | None = None
    labels: dict[str, str | list[str]] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Ours(Shape):
    """The head of a document of Stormgate's own kinds."""

    api_version: Literal["stormgate.dev/v1"]
    metadata: Metadata


def fit(
    shape: type[ShapeT], document: Document, problems: Problems, loc: Loc = ()
) -> ShapeT | None:
    """The document (or the part of it at `loc`) as a shape, or None with every misfit noted."""
    data = document.data
    for step in loc:
        data = data[step]
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=True)
        slips = {
            (one["loc"][:-1], explain(shape, one)[2])
            for one in found
            if one["type"] == "extra_forbidden"
        }
        for one in found:
            # What was meant by a slip is not missing besides.
            meant = (one["loc"][:-1], f"did you mean {one['loc'][-1]!r}?") if one["loc"] else ()
            if one["type"] == "missing" and meant in slips:
                continue
            where, message, fix = explain(shape, one)
            problems.add(document.file, document.line(*loc, *where), message, fix)
        return None


def explain(shape: type[BaseModel], error: Mapping[str, Any]) -> tuple[Loc, str, str]:
    """Where a pydantic error points, what is wrong there, and what would be right."""
    loc: Loc = tuple(
        step
        for step in error["loc"]
        # Steps of pydantic's own, and the tags of what may be written in several ways.
        if not (isinstance(step, str) and step.startswith(("function-", "as-")))
    )
    context = error.get("ctx", {})
    kind = error["type"]
    last = str(loc[-1]) if loc else ""
    if kind == "stormgate":
        return loc, f"{_path(loc)}{context['what']}", context["fix"]
    if kind == "extra_forbidden":
        return (
            loc,
            f"unknown key {last!r}{_inside(loc[:-1])}",
            nearest(last, allowed_keys(shape, loc[:-1])),
        )
    if kind == "missing":
        return loc[:-1], f"{last!r} is missing{_inside(loc[:-1])}", f"add {last!r}"
    if kind in ("value_error", "assertion_error"):
        return (
            loc,
            f"{_path(loc)}{_lower(str(context.get('error', error['msg'])))}",
            "change it to fit",
        )
    if kind == "literal_error":
        words = [
            word.strip().strip("'") for word in context["expected"].replace(" or ", ",").split(",")
        ]
        return (
            loc,
            f"{_path(loc)}{show(error['input'])} is unknown",
            nearest(str(error["input"]), words),
        )
    return loc, f"{_path(loc)}{show(error['input'])} does not fit", _lower(error["msg"])


def allowed_keys(shape: Any, loc: Loc) -> list[str]:
    """The keys a shape allows at a place inside it; empty where the place holds no shape."""
    keys: list[str] = []
    for model in _shapes(shape, loc):
        keys += [field.alias or name for name, field in model.model_fields.items()]
    return keys


def _shapes(annotation: Any, loc: Loc) -> list[type[BaseModel]]:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _shapes(typing.get_args(annotation)[0], loc)
    if origin in (typing.Union, types.UnionType):
        return [found for arg in typing.get_args(annotation) for found in _shapes(arg, loc)]
    if origin in (list, dict):
        return _shapes(typing.get_args(annotation)[-1], loc[1:]) if loc else []
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return []
    if not loc:
        return [annotation]
    for name, field in annotation.model_fields.items():
        if (field.alias or name) == loc[0]:
            return _shapes(field.annotation, loc[1:])
    # A union's branch is named in the place by its class.
    return _shapes(annotation, loc[1:]) if loc[0] == annotation.__name__ else []


def _inside(loc: Loc) -> str:
    return f" in {_dotted(loc)}" if loc else ""


def _path(loc: Loc) -> str:
    return f"{_dotted(loc)}: " if loc else ""


def _dotted(loc: Loc) -> str:
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
