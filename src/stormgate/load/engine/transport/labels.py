"""Labels read from response headers while they are parsed, when a target's `observe` map asks for
any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stormgate.load.http.connection import Connection, TlsConnection

# The code that stands for a value of a label in a row.
CodeOf = Callable[[str, str], int]
# A header with a value of its own per response must not grow what is remembered for ever.
_MOST_VALUES = 10_000
_Found = Callable[[Connection, bytes], None]


def connection_classes(
    observe: Mapping[str, str], observed: Sequence[str], code_of: CodeOf
) -> tuple[type[Connection], type[TlsConnection]]:
    """The plain and the TLS connection for `observe` ({label: header name}), whose labels are in
    the order of `observed`; they read no header when it is empty.
    """
    if not observe:
        return Connection, TlsConnection
    by_header = {
        observe[label].lower(): _finder(code_of, label, position)
        for position, label in enumerate(observed)
    }
    # Servers spell a header one way: its exact bytes are looked up, and only a spelling never seen
    # before is folded.
    seen: dict[bytes, _Found | None] = {}

    def on_header(connection: Connection, name: bytes, value: bytes) -> None:
        try:
            found = seen[name]
        except KeyError:
            found = seen[name] = by_header.get(name.decode("latin-1").lower())
        if found is not None:
            found(connection, value)

    class LabelledConnection(Connection):
        __slots__ = ()

        def on_header(self, name: bytes, value: bytes) -> None:
            on_header(self, name, value)

    class LabelledTlsConnection(TlsConnection):
        __slots__ = ()

        def on_header(self, name: bytes, value: bytes) -> None:
            on_header(self, name, value)

    return LabelledConnection, LabelledTlsConnection


def value_codes(
    observe: Mapping[str, str], observed: Sequence[str], code_of: CodeOf
) -> tuple[list[bytes], Callable[[int, bytes], int]]:
    """The names of the headers for `observe` in the order of `observed`, and what gives a value of
    one of them its code.
    """
    names = [observe[label].lower().encode("latin-1") for label in observed]
    known: list[dict[bytes, int]] = [{} for _ in observed]

    def value_code(position: int, value: bytes) -> int:
        codes = known[position]
        code = codes.get(value)
        if code is None:
            code = code_of(observed[position], value.decode("latin-1"))
            if len(codes) < _MOST_VALUES:
                codes[value] = code
        return code

    return names, value_code


def _finder(code_of: CodeOf, label: str, position: int) -> _Found:
    codes: dict[bytes, int] = {}

    def found(connection: Connection, value: bytes) -> None:
        code = codes.get(value)
        if code is None:
            code = code_of(label, value.decode("latin-1"))
            if len(codes) < _MOST_VALUES:
                codes[value] = code
        if connection.labels is not None:
            connection.labels[position] = code

    return found
