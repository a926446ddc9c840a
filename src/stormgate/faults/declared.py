"""What a backend declares of itself as data: the handle its components need, and the parameters of
each of its modes. Documents are held to these models before anything is contacted, faults again
before anything is broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from stormgate.faults.errors import CannotBreak

# An hour of delay is silence, and what a link carries a second fits into 32 bits of KB.
LONGEST_MS = 3_600_000
MOST_KB_PER_S = 2**31


class Handle(BaseModel):
    """What a backend needs of a component, as a target document writes it: camelCase keys, nothing
    else accepted, no value coerced. A run's plan holds the same under the fields' own names.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class Parameters(BaseModel):
    """What a mode may be told, in the names an experiment writes, with units last and ranges."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class AnyParameters(Parameters):
    """Whatever somebody's own commands understand."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One thing that a preflight looked at: `what` it is, whether it is as a run needs it, what was
    `saw`n there, and what to do about it where it is not.
    """

    what: str
    ok: bool
    saw: str
    fix: str = ""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Milliseconds = Annotated[Whole, Field(ge=0, le=LONGEST_MS)]
Argv = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


def checked(
    who: str, mode: str, model: type[Parameters], params: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters of a mode, complete with their defaults. Raises CannotBreak naming each that
    does not fit.
    """
    try:
        return model.model_validate(dict(params)).model_dump()
    except ValidationError as error:
        found = "; ".join(misfit(model, one) for one in error.errors(include_url=False))
        raise CannotBreak(f"{who}: {mode}: {found}") from None


def misfit(model: type[Parameters], error: Mapping[str, Any]) -> str:
    """One pydantic error of a mode's parameters, in words."""
    name = ".".join(str(step) for step in error["loc"] if step != "function-before")
    if error["type"] == "extra_forbidden":
        takes = ", ".join(model.model_fields) or "nothing"
        return f"no parameter {name!r} (it takes {takes})"
    if error["type"] == "missing":
        return f"it needs {name!r}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{name} {str(error['msg']).replace('Input should', 'must')}, not {error['input']!r}"
