"""Arrow columns as numpy: strings become codes, integers what lies in their buffers. pyarrow's own
to_numpy imports pandas, half a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
UNKNOWN = "(unknown)"


class Interner:
    """Strings to small integers; 0 is null. Codes depend on the order of arrival, so no result may:
    results are sorted by name.
    """

    def __init__(self) -> None:
        self.names: list[str] = [UNKNOWN]
        self._codes: dict[str | None, int] = {None: 0}

    def code(self, name: str | None) -> int:
        found = self._codes.get(name)
        if found is None:
            found = self._codes[name] = len(self.names)
            self.names.append(str(name))
        return found

    def known(self, names: Iterable[str]) -> Array:
        """A mask over the codes so far: which stand for one of `names`."""
        wanted = set(names)
        return np.array([i > 0 and n in wanted for i, n in enumerate(self.names)])


def is_words(column: Any) -> bool:
    return hasattr(column, "dictionary") or str(column.type) in ("string", "large_string")


def words(name: str, column: Any) -> Any:
    """A string column as dictionary codes. Raises ValueError when it holds no strings."""
    if str(column.type) in ("string", "large_string"):
        column = column.dictionary_encode()
    if not hasattr(column, "dictionary") or "string" not in str(column.type.value_type):
        wanted = "dictionary<values=string, indices=int32>"
        raise ValueError(f"column {name!r} is {column.type}, not {wanted}")
    size, indices = len(column.dictionary), column.indices
    if len(indices) > indices.null_count:
        codes = buffer(indices)[valid(indices)]
        if int(codes.max()) >= size or int(codes.min()) < 0:
            raise ValueError(f"column {name!r} has a code outside its dictionary of {size}")
    return column


def valid(array: Any) -> Array:
    """Which values of an Arrow array are not null, as a mask."""
    if array.null_count == 0:
        return np.ones(len(array), bool)
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    mask: Array = np.unpackbits(bits, bitorder="little")[
        array.offset : array.offset + len(array)
    ].astype(bool)
    return mask


def buffer(array: Any) -> Array:
    """An Arrow array of integers as numpy, nulls as whatever lies there. Its own to_numpy imports
    pandas: half a second.
    """
    kind = "u" if str(array.type).startswith("u") else "i"
    data = np.frombuffer(array.buffers()[1], np.dtype(f"{kind}{array.type.bit_width // 8}"))
    return data[array.offset : array.offset + len(array)]


def numbers(batch: Any, name: str, *, nullable: bool = False) -> Array:
    """An integer column; times as int64 whatever width they came in. Raises ValueError."""
    index = batch.schema.get_field_index(name)
    if index < 0:
        raise ValueError(f"column {name!r} is missing")
    column = batch.column(index)
    if column.null_count and not nullable:
        raise ValueError(f"column {name!r} holds nulls")
    wanted = "int64 of nanoseconds" if name.endswith("_ns") else "an integer column"
    if str(column.type).lstrip("u") not in ("int8", "int16", "int32", "int64"):
        raise ValueError(f"column {name!r} is {column.type}, not {wanted}")
    values = buffer(column) if len(column) else np.zeros(0, np.int64)
    if not name.endswith("_ns"):
        return values
    if values.dtype == np.uint64 and len(values) and int(values.max()) >= 1 << 63:
        raise ValueError(f"column {name!r} holds a time beyond 63 bits")
    times: Array = values.astype(np.int64, copy=False)
    return times
