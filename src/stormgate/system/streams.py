"""Standard output that outlasts its reader."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any, TextIO, cast

from stormgate.system.secrets import redacted


def lasting(stream: TextIO | None) -> TextIO:
    """A standard stream that never fails; one that was closed before we began goes nowhere."""
    whole = open(os.devnull, "w", encoding="utf-8") if stream is None else stream  # noqa: SIM115
    return cast(TextIO, Lasting(whole))


class Lasting(io.TextIOBase):
    """A text stream that keeps secrets (system/secrets.py), and goes quiet where it would fail:
    `command | head` closes the pipe, a disk is full. How a command ends must not depend on who
    listens.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"a text stream takes a string, not {type(text).__name__}")
        try:
            self._stream.write(redacted(text))
        except OSError:
            self._go_quiet()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._go_quiet()
        except ValueError:  # closed
            return

    def _go_quiet(self) -> None:
        """From here on everything goes nowhere, also what is buffered and flushed at the end."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True
