"""This machine's limits for one process."""

from __future__ import annotations

import contextlib
import resource

_ENOUGH = 65_536


def open_files() -> int:
    """How many files this process may have open, after raising its soft limit as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return _ENOUGH if soft == resource.RLIM_INFINITY else min(soft, _ENOUGH)


def too_few_open_files(limit: int, needed: int, what: str) -> str:
    """What to tell who runs `what` with fewer than it needs; "" when they are enough."""
    if limit >= needed:
        return ""
    return (
        f"this process may open {limit} files at once (ulimit -n), and {what} needs {needed} at "
        "least: raise the limit first (ulimit -n 65536 in the shell that starts it, LimitNOFILE= "
        "of a service, --ulimit nofile=65536 of a container)"
    )
