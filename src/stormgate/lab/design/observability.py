"""What `provision.lab.observability` asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormgate.lab.errors import LabError
from stormgate.model import Target

_KEYS = frozenset({"alertWebhook", "otlp"})


def observability(target: Target) -> Mapping[str, Any] | None:
    """The options, or None where nothing is asked for: then nothing of it runs. Raises LabError."""
    options = ((target.provision or {}).get("lab") or {}).get("observability")
    if options is None:
        return None
    if not isinstance(options, Mapping) or not set(options) <= _KEYS:
        raise LabError(
            f"target {target.name!r}: provision.lab.observability may have "
            f"{', '.join(sorted(_KEYS))}, not {options!r}"
        )
    for key, url in options.items():
        if not isinstance(url, str) or not url.startswith("http://127.0.0.1:"):
            raise LabError(
                f"target {target.name!r}: provision.lab.observability.{key} must be an address on "
                f"loopback, http://127.0.0.1:PORT/…, not {url!r}"
            )
    return options
