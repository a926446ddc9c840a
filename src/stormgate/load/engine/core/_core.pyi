"""What the compiled core offers."""

from collections.abc import Callable, Sequence
from typing import Any

FRAMED_MORE: int
FRAMED_WHOLE: int
FRAMED_MALFORMED: int
FRAMED_ODD: int

def frame(pieces: Sequence[bytes], is_head: bool, ended: bool, /) -> tuple[int, int, int, int]: ...
def tls(
    extension: str | None,
    version: str,
    trusted: str | None,
    options: int,
    verify_flags: int,
    verify_mode: int,
    versions: tuple[int, int],
    security_level: int,
    host_flags: int,
    ciphers: str,
    suites: str,
    protocols: bytes,
    /,
) -> object: ...

class Channel:
    """A TLS session that the core has handed over, without its socket."""

    def feed(self, data: bytes, /) -> None: ...
    def read(self) -> bytes | None: ...
    def write(self, data: bytes, /) -> None: ...
    def out(self) -> bytes: ...

class Core:
    """Connections in a thread of their own, which begins with the first attempt."""

    allowance: int
    most: int
    def __init__(
        self,
        outcomes: tuple[Any, ...],
        append: Callable[[Any], None],
        code_of: Callable[[int, bytes], int],
        on_odd: Callable[[Any, int, bytes, int, Channel | None, int], None],
        on_trouble: Callable[[Any, Any, str | None, int], None],
        on_address: Callable[[Any, str, int, int, int], None],
        wanted: Sequence[bytes],
        most: int,
        /,
    ) -> None: ...
    def pool(
        self,
        addresses: tuple[tuple[str, int], ...],
        terms: object = None,
        name: str = "",
        is_address: bool = False,
        /,
    ) -> int: ...
    def point(self, pool: int, addresses: tuple[tuple[str, int], ...], /) -> None: ...
    def has_idle(self, pool: int, /) -> bool: ...
    def drop_idle(self, pool: int, /) -> None: ...
    def submit(self, pool: int, attempt: Any, is_wanted: bool, /) -> None: ...
    def flush(self) -> None: ...
    def take(self) -> tuple[int, int, int, int, int, int, list[int]]: ...
    def withdraw(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...
