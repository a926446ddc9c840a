"""Where `stormgate plan` used to live."""

from __future__ import annotations

from stormgate.commands.plan import command

__all__ = ["command"]
