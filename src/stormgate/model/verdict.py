"""How a gate, an objective or one attempt can end, and which process exit code says so."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Verdict(enum.StrEnum):
    """What an objective, a trial or a gate came to. DIRTY > FAIL > ABORTED > ERROR > INCONCLUSIVE >
    PASS.
    """

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    ABORTED = "ABORTED"
    FAIL = "FAIL"
    DIRTY = "DIRTY"

    @property
    def severity(self) -> int:
        """Rank for `worst`: 0 for PASS up to 5 for DIRTY."""
        return list(Verdict).index(self)

    @property
    def exit_code(self) -> int:
        """The process exit code of a gate with this verdict (2 is kept for usage errors)."""
        return {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3, "ERROR": 4, "ABORTED": 5, "DIRTY": 6}[
            self.value
        ]


EXIT_USAGE = 2


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict that decides. Nothing evaluated is INCONCLUSIVE, never PASS."""
    return max(verdicts, key=lambda v: v.severity, default=Verdict.INCONCLUSIVE)


class Outcome(enum.StrEnum):
    """How one attempt ended."""

    OK = "ok"
    BAD_STATUS = "bad_status"
    WRONG_BODY = "wrong_body"
    MALFORMED = "malformed"
    REFUSED = "refused"
    RESET = "reset"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    BODY_TIMEOUT = "body_timeout"
    TLS = "tls"
    DNS = "dns"
    NOT_SENT = "not_sent"
