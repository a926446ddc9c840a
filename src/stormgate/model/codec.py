"""How the types of the model cross a process or reach disk: what was written is what is read."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

T = TypeVar("T")


@functools.cache
def _adapter(cls: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def to_json(value: Any) -> dict[str, Any]:
    """A frozen type of this module as JSON-ready plain data."""
    cls: Any = type(value)
    data: dict[str, Any] = _adapter(cls).dump_python(value, mode="json")
    return data


def from_json(cls: type[T], data: Any) -> T:
    """The inverse of `to_json`. Raises pydantic.ValidationError (a ValueError) when the data does
    not fit.
    """
    key: Any = cls
    result: T = _adapter(key).validate_python(data)
    return result
