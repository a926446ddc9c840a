"""readYourWrites: whose write was acknowledged sees it, or a newer one, when reading the key."""

from __future__ import annotations

from stormgate.judge.histories.sessions import session_kind

KIND = session_kind(
    "readYourWrites",
    lambda users: users.take(users.of("write") & users.ok),
    "writing",
    ("write", "read"),
)
