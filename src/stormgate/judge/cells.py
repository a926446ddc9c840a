"""Cells: requests grouped by some of their columns, each group with a small dense number, and
counters over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stormgate.evidence.arrow import UNKNOWN
from stormgate.evidence.samples import Block, Columns

Array = NDArray[Any]


class Cells:
    """Numbers the combinations of values in `by`. Numbers depend on arrival order; `names` and
    `labels` do not.
    """

    def __init__(self, by: Sequence[str]) -> None:
        self.by = tuple(by)
        self.keys: list[tuple[int, ...]] = [] if self.by else [()]
        self._index: dict[tuple[int, ...], int] = {key: i for i, key in enumerate(self.keys)}
        self._bits: tuple[int, ...] = ()
        self._table: Array = np.empty(0, np.int32)
        self._columns: Columns | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, block: Block) -> Array:
        """The cell number of every row of a block."""
        self._columns = block.columns
        if not self.by:
            return np.zeros(len(block), np.int32)
        key = ("cells", self.by, id(self))
        if key not in block.cache:
            block.cache[key] = self._lookup(block)
        cells: Array = block.cache[key]
        return cells

    def _lookup(self, block: Block) -> Array:
        codes = [block.label(name) for name in self.by]
        bits = tuple(max(1, (len(block.columns[name].names) - 1).bit_length()) for name in self.by)
        if bits != self._bits:
            self._resize(bits)
        packed = codes[0].astype(np.int64)
        for code, width in zip(codes[1:], bits[1:], strict=True):
            packed = (packed << width) | code
        if not self._table.size:
            unique, inverse = np.unique(packed, return_inverse=True)
            return np.array([self._number(int(p)) for p in unique], np.int32)[inverse]
        cells: Array = self._table[packed]
        if cells.min() < 0:
            for p in np.unique(packed[cells < 0]):
                self._table[p] = self._number(int(p))
            cells = self._table[packed]
        return cells

    def _resize(self, bits: tuple[int, ...]) -> None:
        # A direct table beats sorting by far; past 16 M combinations it would not fit, and
        # np.unique takes over.
        self._bits = bits
        self._table = (
            np.full(1 << sum(bits), -1, np.int32) if sum(bits) <= 24 else np.empty(0, np.int32)
        )
        for number, key in enumerate(self.keys):
            if self._table.size:
                self._table[self._pack(key)] = number

    def _pack(self, key: tuple[int, ...]) -> int:
        packed = 0
        for code, width in zip(key, self._bits, strict=True):
            packed = (packed << width) | code
        return packed

    def _number(self, packed: int) -> int:
        key: list[int] = []
        for width in reversed(self._bits):
            key.append(packed & ((1 << width) - 1))
            packed >>= width
        found = tuple(reversed(key))
        if found not in self._index:
            self._index[found] = len(self.keys)
            self.keys.append(found)
        return self._index[found]

    def labels(self, number: int) -> dict[str, str]:
        """The values that make a cell, by column."""
        if self._columns is None:
            return {}
        return {
            name: self._columns[name].names[code]
            for name, code in zip(self.by, self.keys[number], strict=True)
        }

    def name(self, number: int) -> str:
        """`london / read`; `all` without columns."""
        return " / ".join(self.labels(number).values()) or "all"

    def ordered(self) -> list[int]:
        """The cell numbers by name: the one order results may come in."""
        return sorted(range(len(self)), key=self.name)

    def unknown_columns(self) -> list[str]:
        """Columns of `by` that were null in every row seen."""
        return [
            c
            for c in self.by
            if len(self)
            and all(self.labels(i).get(c, UNKNOWN) == UNKNOWN for i in range(len(self)))
        ]


class Tally:
    """Counts per cell, growing as cells appear."""

    def __init__(self, width: int = 1) -> None:
        self.width = width
        self.counts: Array = np.zeros((0, width), np.int64)

    def add(self, cells: Array, columns: Array | None, size: int) -> None:
        """Count one per row in (cell, column); `size` is the number of cells known by now."""
        if size > len(self.counts):
            grown = np.zeros((max(size, 2 * len(self.counts)), self.width), np.int64)
            grown[: len(self.counts)] = self.counts
            self.counts = grown
        index = cells if columns is None else cells.astype(np.int64) * self.width + columns
        flat = self.counts.reshape(-1)
        if flat.size <= 4 * len(index):
            flat += np.bincount(index, minlength=flat.size)
        else:
            np.add.at(flat, index, 1)

    def column(self, size: int, column: int = 0) -> Array:
        """The counts of one column for `size` cells."""
        out = np.zeros(size, np.int64)
        have = min(size, len(self.counts))
        out[:have] = self.counts[:have, column]
        return out


class BadBlocks:
    """How many bad requests each cell had in each 1 s block, kept only where there were any."""

    def __init__(self) -> None:
        self._keys: list[Array] = []
        self._counts: list[Array] = []
        self._pending = 0

    def add(self, cells: Array, seconds: Array) -> None:
        if not len(cells):
            return
        keys, counts = np.unique((cells.astype(np.int64) << 32) | seconds, return_counts=True)
        self._keys.append(keys)
        self._counts.append(counts)
        self._pending += len(keys)
        if self._pending > 4_000_000:
            self._merge()

    def _merge(self) -> None:
        if len(self._keys) > 1:
            keys, inverse = np.unique(np.concatenate(self._keys), return_inverse=True)
            counts = np.bincount(
                inverse, weights=np.concatenate(self._counts), minlength=len(keys)
            ).astype(np.int64)
            self._keys, self._counts = [keys], [counts]
        self._pending = 0

    def per_cell(self) -> dict[int, Array]:
        """Cell number to the counts of its bad blocks, largest first."""
        self._merge()
        if not self._keys:
            return {}
        cells = self._keys[0] >> 32
        begins = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
        parts = np.split(self._counts[0], begins[1:])
        return {int(cells[b]): np.sort(part)[::-1] for b, part in zip(begins, parts, strict=True)}


def where_mask(block: Block, where: Mapping[str, Sequence[str]]) -> Array | None:
    """Rows whose columns have one of the wanted values each; None: all."""
    mask: Array | None = None
    for column, values in sorted(where.items()):
        wanted = block.columns[column].known(values)[block.label(column)]
        mask = wanted if mask is None else mask & wanted
    return mask
