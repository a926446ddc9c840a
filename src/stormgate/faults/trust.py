"""Whose ledger is it? A ledger holds commands, and playing one runs them; so each row carries a
keyed digest that only this user on this machine can make, over the row and the digest before it. A
row of somebody else's, a changed one, and one that was taken out are seen.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import platform
import secrets
import shlex
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stormgate.faults import state

MAC = "mac"
_KEY = "ledger.key"
_KEY_BYTES = 32


def sealed(row: Mapping[str, Any], before: str) -> dict[str, Any]:
    """The row with its keyed digest; `before` is that of the last row, "" for the first. Raises
    OSError when this user's key can be neither read nor made.
    """
    return {**row, MAC: _digest(_make_key(), row, before)}


def doubt(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Why these rows of a ledger are not, all of them and no other, what this user wrote on this
    machine; None when they are. Never raises.
    """
    try:
        key = _read_key(state.state_path() / _KEY)
    except FileNotFoundError:
        return f"this user has written no ledger on this machine ({state.state_path()} has no key)"
    except OSError as error:
        return f"the key that tells this user's ledgers cannot be read: {error}"
    before = ""
    for number, row in enumerate(rows, start=1):
        mac = row.get(MAC)
        try:
            expected = _digest(key, row, before)
        except (ValueError, RecursionError):
            expected = ""
        if not isinstance(mac, str) or not expected or not hmac.compare_digest(mac, expected):
            return (
                f"row {number} was not written by this user on this machine, or was changed, or "
                "one before it was taken out"
            )
        before = mac
    return None


def last_mac(rows: Sequence[Mapping[str, Any]]) -> str:
    """The digest that the next row follows."""
    return str(rows[-1].get(MAC, "")) if rows else ""


def commands(name: str, backend: str, handle: Mapping[str, Any], mode: str) -> list[str]:
    """What undoing an entry may run or contact, one line each."""
    lines = []
    for step, value in sorted(handle.items()):
        if step == "apply" or value is None:
            continue
        chosen = value.get(mode) if isinstance(value, Mapping) else value
        if isinstance(chosen, list | tuple):
            told = shlex.join(str(word) for word in chosen)
        elif isinstance(chosen, str | int):
            told = str(chosen)
        else:
            told = json.dumps(chosen, default=str)
        lines.append(f"{name} ({mode}), {backend}: {step}: {told}")
    return lines or [f"{name} ({mode}), {backend}"]


def _digest(key: bytes, row: Mapping[str, Any], before: str) -> str:
    content = {name: value for name, value in row.items() if name != MAC}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    data = "\0".join((str(os.getuid()), _machine(), before, text))
    return hmac.new(key, data.encode(), hashlib.sha256).hexdigest()


def _machine() -> str:
    """A machine that has an identity may change its host name."""
    return state.machine().partition("/")[0] or platform.node()


def _make_key() -> bytes:
    path = state.state_dir() / _KEY
    if not path.exists():
        # Written whole under another name and linked: of two processes one wins, neither reads half
        # a key.
        fresh = path.with_name(f".{_KEY}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if os.write(descriptor, secrets.token_bytes(_KEY_BYTES)) != _KEY_BYTES:
                raise OSError(f"{path} could not be written (disk full?)")
            os.fsync(descriptor)
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            os.close(descriptor)
            fresh.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
            raise PermissionError(f"{path} is not a file that this user alone can read")
        key = os.read(descriptor, _KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(key) != _KEY_BYTES:
        raise OSError(f"{path} is not a key of {_KEY_BYTES} bytes")
    return key
