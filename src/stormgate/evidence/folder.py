"""Making a run folder: its name, its first files, and the `latest` pointer."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from stormgate.system.files import write_atomically

LATEST = "latest"


def create_run_folder(
    reports: Path, gate: str, *, now: datetime, first_files: Mapping[str, str], latest: bool = True
) -> Path:
    """`reports/<UTC time>-<gate>-<id>/` with `first_files` in it before anything runs, and
    `reports/latest` pointing there, unless it is no run of a gate.

    A run that dies must leave no green and no gap, so the first files are the INCONCLUSIVE verdict
    and its reports. Raises OSError (no space, no permission) before anything else was started.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", gate.lower()).strip("-") or "gate"
    folder = reports / f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{slug}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    for name in ("samples", "operations", "journals", "logs"):
        (folder / name).mkdir()
    for name, text in first_files.items():
        write_atomically(folder / name, text)
    if latest:
        point_latest(reports, folder)
    return folder


def point_latest(reports: Path, folder: Path) -> None:
    """Repoint `reports/latest`. A file system without symbolic links only loses the convenience."""
    link = reports / LATEST
    temporary = reports / f".{LATEST}.{os.getpid()}"
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(folder.name)
        os.replace(temporary, link)
