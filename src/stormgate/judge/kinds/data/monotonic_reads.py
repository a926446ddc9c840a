"""monotonicReads: who has seen a version of a key does not see an older one after it."""

from __future__ import annotations

from stormgate.judge.histories.sessions import session_kind

KIND = session_kind(
    "monotonicReads",
    lambda users: users.take(users.of("read") & users.ok),
    "reading",
    ("read", "read"),
)
