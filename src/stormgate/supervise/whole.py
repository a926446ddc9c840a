"""Is the target whole again? Asked of the target's own status document, when it has one."""

from __future__ import annotations

import ipaddress
import os
import time
import urllib.parse
from collections.abc import Callable, Sequence

from stormgate.model import Target
from stormgate.net.references import resolved


def allowed(url: str, allow: Sequence[str]) -> bool:
    """Whether a URL's host is one the target document lets us contact: a CIDR that holds its
    address, or its very name.
    """
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return host in allow
    for entry in allow:
        try:
            if address in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return host in allow


def why_not_whole(target: Target) -> str | None:
    """None when the target says it is whole, or has no status document; else why it is not."""
    from stormgate.net.status import read_status

    if target.status_url is None:
        return None
    if not allowed(resolved(target.status_url, os.environ), target.allow):
        return (
            f"its status at {target.status_url} may not be contacted (allow: "
            f"{', '.join(target.allow)})"
        )
    status = read_status(target)
    return None if status.whole else status.why or "it does not say why"


def wait_whole(target: Target, deadline_s: float, *, tick: Callable[[], object]) -> str | None:
    """Wait until the target is whole, ticking meanwhile. None, or why it still was not at the
    deadline.
    """
    deadline = time.monotonic() + deadline_s
    while (why := why_not_whole(target)) is not None and time.monotonic() < deadline:
        tick()
    return why
