"""slicer: data leaves in small pieces, `delay` microseconds apart."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from stormgate.toxiproxy.toxics.base import Flow, Step, ToxicType


@dataclass(frozen=True)
class Slicer(ToxicType):
    """Sizes in bytes: pieces of `average_size` ± `size_variation`; `delay` in microseconds after
    each.
    """

    type: ClassVar[str] = "slicer"
    average_size: int = 0
    size_variation: int = 0
    delay: int = 0

    def flow(self, rng: random.Random, previous: Flow | None = None) -> Flow:
        return _SlicerFlow(self, rng)

    @classmethod
    def problems(cls, attributes: Mapping[str, int]) -> list[str]:
        average, variation = attributes.get("average_size", 0), attributes.get("size_variation", 0)
        if average < 1:
            return [
                "slicer.average_size must be at least 1 (the real server dies of 0, its default)"
            ]
        if variation >= average:
            return [f"slicer.size_variation {variation} must be below average_size {average}"]
        return []


def sizes(total: int, average: int, variation: int, rng: random.Random) -> Iterator[int]:
    """Lengths that sum to `total`, by halving until at most `average` + `variation`, as Toxiproxy's
    slicer does.
    """
    stack = [total]
    while stack:
        length = stack.pop()
        if length - average <= variation or length < 2:
            yield length
            continue
        left = length // 2
        if variation > 0:
            left += rng.randrange(2 * variation) - variation
        left = min(max(left, 1), length - 1)
        stack += (length - left, left)


class _SlicerFlow(Flow):
    def __init__(self, toxic: Slicer, rng: random.Random) -> None:
        self._toxic = toxic
        self._rng = rng
        self._free_at = 0.0

    def data(self, now: float, data: bytes) -> Step:
        at = max(self._free_at, now)
        begin = 0
        pieces = []
        for size in sizes(
            len(data), max(1, self._toxic.average_size), self._toxic.size_variation, self._rng
        ):
            pieces.append((at, data[begin : begin + size]))
            begin += size
            at += self._toxic.delay / 1_000_000
        self._free_at = at
        return Step(tuple(pieces))
