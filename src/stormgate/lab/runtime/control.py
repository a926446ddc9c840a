"""Asking the lab's daemon to do something: one line of JSON there, one back, over a Unix socket
only its user can open.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stormgate.lab.errors import LabError

_LINE_BYTES = 1 << 20


def ask(path: Path, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """The daemon's answer. Raises LabError: no daemon there, none in time, or it could not do it
    (with its reason).
    """
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(timeout_s)
            line.connect(str(path))
            line.sendall(json.dumps(request).encode() + b"\n")
            with line.makefile("rb") as answers:
                return _answer(answers.readline(_LINE_BYTES))
    except TimeoutError as error:
        raise LabError(
            f"the lab did not answer {request.get('op')!r} within {timeout_s:g} s"
        ) from error
    except OSError as error:
        raise LabError(f"no lab answers at {path}: {error.strerror or error}") from error


async def ask_async(path: Path, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """`ask` for an event loop; OSError and TimeoutError are left as they are."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_unix_connection(str(path))
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            return _answer(await reader.readline())
        finally:
            writer.close()


def _answer(line: bytes) -> dict[str, Any]:
    if not line:
        raise LabError("the lab ended before it answered")
    data: dict[str, Any] = json.loads(line)
    if "error" in data:
        raise LabError(str(data["error"]))
    return data
