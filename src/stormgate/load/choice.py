"""Data of a declared flow: `choice("threads.csv", "id")` is a column of a file, of which each
arrival draws one row.

Drawing is a pure function of (stream, arrival, which draw): it repeats with the run's seed, and no
answer and no other user moves it.
"""

from __future__ import annotations

import csv
import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

MOST_ROWS = 200_000
MOST_BYTES = 64 << 20
_MASK = (1 << 64) - 1
_KEPT = 16_384  # requests made of rows, per step

V = TypeVar("V")


def drawn(key: int, arrival: int, index: int) -> int:
    """64 bits: draw `index` of a stream's arrival number `arrival`. SplitMix64's output function
    (Steele, Lea and Flood 2014) twice, so that neighbours have nothing in common.
    """
    bits = _mixed((key + 0x9E3779B97F4A7C15 * (arrival + 1)) & _MASK)
    return _mixed((bits + 0xD1B54A32D192ED03 * (index + 1)) & _MASK)


def _mixed(bits: int) -> int:
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)


class DataFile:
    """A CSV file, read once: its columns, all of `count` rows."""

    def __init__(self, path: Path, columns: Mapping[str, tuple[str, ...]], count: int) -> None:
        self.path = path
        self.columns = columns
        self.count = count

    def row(self, bits: int) -> int:
        """The row that 64 drawn bits stand for (Lemire 2019, multiply and shift)."""
        return (bits * self.count) >> 64


class _Part:
    """What stands for text that is not known before a row is drawn."""

    __slots__ = ()

    def __add__(self, other: object) -> Joined:
        return Joined.of(self, other)

    def __radd__(self, other: object) -> Joined:
        return Joined.of(other, self)

    def __format__(self, _spec: str) -> str:
        return str(self)

    def __str__(self) -> str:
        raise TypeError(
            f"{self!r} is drawn anew at each arrival and is no text yet: put it between by +, "
            f"as get('/threads/' + {self!r})"
        )


class Choice(_Part):
    """One column of a file. `values` has its rows, in order."""

    __slots__ = ("column", "source", "values")

    def __init__(self, source: DataFile, column: str) -> None:
        self.source = source
        self.column = column
        self.values = source.columns[column]

    def __repr__(self) -> str:
        return f"choice({self.source.path.name!r}, {self.column!r})"


class Joined(_Part):
    """Texts and columns one after the other."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[str | Choice, ...]) -> None:
        self.parts = parts

    @classmethod
    def of(cls, *sides: object) -> Joined:
        """Raises TypeError for what is neither text nor a column."""
        parts: list[str | Choice] = []
        for side in sides:
            if isinstance(side, Joined):
                parts += side.parts
            elif isinstance(side, str | Choice):
                parts.append(side)
            else:
                raise TypeError(f"a column is put between texts, not beside {side!r:.200}")
        return cls(tuple(parts))

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


def choice(file: str | Path, column: str) -> Choice:
    """A column of a CSV file whose first line names its columns, for a request of `steps`: in its
    path (percent-encoded), its data, a header, or anywhere in its json. Each arrival draws one row
    of each file, and all columns of that file are of that row.

    A relative `file` is looked for beside the Python file that calls this. Raises ValueError for a
    file that cannot be read, has no rows or a broken one, and for a column it does not have.
    """
    where = Path(sys._getframe(1).f_code.co_filename).resolve().parent
    path = where / file
    try:
        size, stamp = path.stat().st_size, path.stat().st_mtime_ns
        if size > MOST_BYTES:
            raise ValueError(f"{path}: {size:,} bytes; a data file has at most {MOST_BYTES:,}")
        source = _read(path, stamp)
    except OSError as error:
        why = error.strerror or error
        raise ValueError(f"choice(): {path}: {why}; the path is from {where}") from None
    if column not in source.columns:
        have = ", ".join(map(repr, source.columns))
        raise ValueError(f"choice(): {path}:1: there is no column {column!r}; it has {have}")
    found = Choice(source, column)
    if "" in found.values:
        line = found.values.index("") + 2
        raise ValueError(f"choice(): {path}: row {line} has no {column!r}; fill it or take it out")
    return found


@functools.lru_cache(maxsize=64)
def _read(path: Path, _stamp: int) -> DataFile:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            names = next(reader, [])
            if not names or "" in names or len(set(names)) < len(names):
                raise ValueError(
                    f"choice(): {path}:1: the first line names the columns, each once, not {names}"
                )
            rows: list[list[str]] = []
            for row in reader:
                if not row:
                    continue  # an empty line is no row
                if len(row) != len(names):
                    raise ValueError(
                        f"choice(): {path}:{reader.line_num}: {len(row)} values for "
                        f"{len(names)} columns"
                    )
                rows.append(row)
                if len(rows) > MOST_ROWS:
                    raise ValueError(f"choice(): {path}: more than {MOST_ROWS:,} rows")
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"choice(): {path}: not a CSV file in UTF-8: {error}") from None
    if not rows:
        raise ValueError(f"choice(): {path}: it has no rows below the names of its columns")
    columns = dict(zip(names, map(tuple, zip(*rows, strict=True)), strict=True))
    return DataFile(path, columns, len(rows))


def choices_in(value: Any) -> list[Choice]:
    """The columns in an option of a request, however deep."""
    if isinstance(value, Choice):
        return [value]
    if isinstance(value, Joined):
        return [part for part in value.parts if isinstance(part, Choice)]
    if isinstance(value, Mapping):
        return [one for pair in value.items() for part in pair for one in choices_in(part)]
    if isinstance(value, list | tuple):
        return [one for part in value for one in choices_in(part)]
    return []


class Template:
    """A request with columns in it, for `steps`: `make(method, path, **options)` is called once per
    row. Raises what that raises for the first row.
    """

    def __init__(
        self, make: Callable[..., Any], method: str, path: Any, options: Mapping[str, Any]
    ) -> None:
        self._make = make
        self._method = method
        self._path = path
        self._options = dict(options)
        self._options.setdefault("name", _shape(path))
        if choices_in(self._options["name"]):
            raise TypeError("name= is one name for all rows: a text, not a column")
        used = [*choices_in(path), *choices_in(options)]
        self.sources = tuple(dict.fromkeys(column.source for column in used))
        self.request = functools.lru_cache(maxsize=_KEPT)(self._of)
        self._of(*(0 for _ in self.sources))

    def __repr__(self) -> str:
        columns = ", ".join(map(repr, choices_in([self._path, self._options])))
        return f"{self._method} {self._options['name']} with {columns}, which is for `steps`"

    def _of(self, *rows: int) -> Any:
        """The request for a row of each of `sources`."""
        at = dict(zip(self.sources, rows, strict=True))
        options = {name: _filled(value, at) for name, value in self._options.items()}
        return self._make(self._method, _filled(self._path, at, encoded=True), **options)

    def check_rows(self) -> None:
        """Raises ValueError for a row whose request could not be sent, with its number."""
        for source in self.sources:
            for row in range(source.count):
                try:
                    self._of(*(row if one is source else 0 for one in self.sources))
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{source.path}: row {row + 2}: {error}") from None


def _shape(path: Any) -> str:
    """What a path is called: columns by their names."""
    parts = path.parts if isinstance(path, Joined) else (path,)
    return "".join(f"{{{p.column}}}" if isinstance(p, Choice) else str(p) for p in parts)


def _filled(value: Any, at: Mapping[DataFile, int], *, encoded: bool = False) -> Any:
    if isinstance(value, Choice):
        text = value.values[at[value.source]]
        return quote(text, safe="") if encoded else text
    if isinstance(value, Joined):
        parts = (p if isinstance(p, str) else _filled(p, at, encoded=encoded) for p in value.parts)
        return "".join(parts)
    if isinstance(value, dict):
        return {_filled(key, at): _filled(part, at) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(part, at) for part in value]
    return value
