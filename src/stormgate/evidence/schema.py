"""The format of the samples: its name, and the columns that are always there."""

from __future__ import annotations

SAMPLES_SCHEMA = "stormgate.samples/1"
# Sample columns that are always there, in order (DESIGN.md section 3); further label columns
# follow.
CORE_COLUMNS = (
    "intended_ns",
    "sent_ns",
    "done_ns",
    "population",
    "route",
    "op",
    "request",
    "attempt",
    "status",
    "bytes_in",
    "outcome",
)
COMMON_LABELS = ("served_by", "shard", "cache", "tier")
