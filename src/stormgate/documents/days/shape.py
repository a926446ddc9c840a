"""The GameDay kind: people's roles, and steps with what is believed of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from stormgate.documents.gate_shape import ObjectiveShape
from stormgate.documents.shapes import Ours, Shape
from stormgate.documents.values import Name, PositiveSeconds


class InjectShape(Shape):
    """What is broken, how, and for how long. `with_` are the mode's parameters, named as in an
    experiment (`latency_ms: 150`).
    """

    mode: str = Field(min_length=1)
    component: str | list[str] | dict[str, Any]
    for_: PositiveSeconds = Field(alias="for")
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    heals: bool = False


def _written(value: Any) -> str:
    return "as-name" if isinstance(value, str) else "as-objective"


# One tag for each, so that a mistake is told of what was meant.
AskedShape = Annotated[
    Annotated[str, Tag("as-name")] | Annotated[ObjectiveShape, Tag("as-objective")],
    Discriminator(_written),
]


class HypothesisShape(Shape):
    """What is believed, sealed before it is tried: in words; by objectives, held over the step's
    fault and recovery: of the gate, by name, or written here as in a gate; and by how fast people
    do their part.
    """

    says: str = Field(min_length=1)
    objectives: list[AskedShape] = Field(default_factory=list)
    detected_within: PositiveSeconds | None = None
    mitigated_within: PositiveSeconds | None = None


class StepShape(Shape):
    """One step. `go` is asked before it."""

    name: Name
    go: str = ""
    inject: InjectShape
    recovery: PositiveSeconds = 10.0
    hypothesis: HypothesisShape


class DaySpec(Shape):
    """A game day: `gate` says who the users are, on which target, and what objectives mean."""

    gate: str = Field(min_length=1)
    rate_per_s: float | None = Field(default=None, gt=0, le=1_000_000)
    steady: PositiveSeconds = 10.0
    final: PositiveSeconds = 5.0
    roles: dict[str, str] = Field(default_factory=dict)
    steps: list[StepShape] = Field(min_length=1)


class DayDocument(Ours):
    """A game day as a script."""

    kind: Literal["GameDay"]
    spec: DaySpec
