"""A transport that does all it does when it is called."""

from __future__ import annotations

from stormgate.load.engine.transport.seam import NEVER


class PromptTransport:
    """What `LoadTransport` asks of time, by one that has no thread of its own: an attempt is
    submitted when it is to be written, and written when it is submitted.
    """

    lead_ns = 0
    batches = False

    @property
    def due_ns(self) -> int:
        return NEVER

    def ahead(self) -> int:
        """None ever is."""
        return 0

    def flush(self) -> None:
        """It is out already."""
