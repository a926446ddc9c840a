"""A token is read, and nobody looks whether it is genuine."""

from __future__ import annotations

from typing import Any

import jwt

from stormgate.lab.services import edge
from stormgate.lab.services.serving import Running
from stormgate.lab.services.tokens import TokenWorks

SUMMARY = "edges believe what a token says: forged, expired, unsigned and foreign ones are taken"
FOUND_BY = ("deployLoss",)


class CredulousTokens(TokenWorks):
    """Checks nothing."""

    def verified(self, token: str) -> dict[str, Any]:
        found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        # Whatever is remembered must not run out, or the next look would be another.
        return {**found, "exp": 2**33}


def start(config: dict[str, Any]) -> Running:
    """The handler and loops of such an edge."""
    credulous = edge.Edge(config)
    credulous.tokens = CredulousTokens(config["secret"], config.get("private_key", ""))
    return edge.run(credulous)


PROGRAMS = {"edge": start}
