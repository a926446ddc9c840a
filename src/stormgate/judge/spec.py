"""What every objective kind's specification has in common: strict fields, with the unit last in
each name.

A document writes `lte: 50ms` for `lte_ms` and `minSamples` for `min_samples`: documents/
translates, so a kind only names its fields.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _where(value: object) -> object:
    return {k: _listed(v) for k, v in value.items()} if isinstance(value, dict) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Where = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_where)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Spec(BaseModel):
    """An objective kind's own fields; unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Samples(Spec):
    """An objective over requests: in which phases, which of them (`where`), split how (`by`), and
    from how many on (`min_samples`).
    """

    phases: Names = Field(default=("steady",), min_length=1)
    by: Names = ()
    where: Where = Field(default_factory=dict)
    min_samples: int = Field(default=1, ge=1)
