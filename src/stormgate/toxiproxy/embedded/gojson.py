"""Reads JSON as Go's encoding/json does into a struct, which is what Toxiproxy's clients were
written against.

Field names match in any case, unknown ones are ignored, null keeps the default, a number with a
point or an exponent is no integer, and what follows the first value is not looked at.
"""

from __future__ import annotations

import json
import struct
from typing import Any

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class BodyError(ValueError):
    """The request body is not what the struct needs."""


def _no_constant(text: str) -> None:
    raise BodyError(f"invalid character {text[0]!r} looking for beginning of value")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def first_value(body: bytes) -> Any:
    """The first JSON value of the body. Raises BodyError."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise BodyError("EOF")
    try:
        return _DECODER.raw_decode(text)[0]
    except (json.JSONDecodeError, RecursionError) as error:
        raise BodyError(str(error)) from error


class Fields:
    """One JSON object, read field by field with Go's rules."""

    def __init__(self, value: Any, what: str) -> None:
        """`value` null counts as no fields. Raises BodyError when it is no object."""
        if value is not None and not isinstance(value, dict):
            raise BodyError(f"cannot unmarshal {_kind(value)} into {what}")
        self._what = what
        self._fields = {key.lower(): item for key, item in (value or {}).items()}

    def raw(self, name: str) -> Any:
        return self._fields.get(name)

    def text(self, name: str, default: str) -> str:
        value = self._fields.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._mismatch(name, value, "string")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self._fields.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._mismatch(name, value, "bool")
        return value

    def integer(self, name: str, default: int) -> int:
        value = self._fields.get(name)
        if value is None:
            return default
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not _INT64_MIN <= value <= _INT64_MAX
        ):
            raise self._mismatch(name, value, "int64")
        return value

    def float32(self, name: str, default: float) -> float:
        value = self._fields.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._mismatch(name, value, "float32")
        try:
            return _to_float32(float(value))
        except OverflowError:
            raise self._mismatch(name, value, "float32") from None

    def _mismatch(self, name: str, value: Any, wanted: str) -> BodyError:
        return BodyError(
            f"cannot unmarshal {_kind(value)} into field {self._what}.{name} of type {wanted}"
        )


def shortest_float32(value: float) -> int | float:
    """The number as Go prints a float32: the fewest digits that mean it, and no point when it is
    whole.
    """
    if value.is_integer() and abs(value) < 1e15:
        return int(value)
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        if _to_float32(short) == value:
            return short
    return value


def _to_float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value}"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
