"""CHE·NU's edges and who comes to them: people with good tokens, a second factor or none,
and others with tokens that no edge may take. Everything here is answered at the edge.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
import time
from collections.abc import Generator
from typing import Any

from stormgate.load import GeoUser, Reply, Request, Session, get, post

USERS_PER_SHARD = 1000
TIMEOUT_S = 2.0
CODE_STEP_S = 30
# An issued second of life, and the time to be sure that it is over.
SHORT_LIFE_S, SURELY_OVER_S = 1, 3.0
Flow = Generator[Request, Reply, Any]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(said: dict[str, Any]) -> str:
    return packed(json.dumps(said).encode())


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def changed(token: str) -> str:
    """Somebody else's name over the old signature."""
    head, _, signature = token.split(".")
    claims = claims_of(token)
    other = claims["sub"].rsplit("-", 1)[0] + "-0"
    return f"{head}.{part({**claims, 'sub': other, 'amr': ['pwd', 'otp']})}.{signature}"


def unsigned(token: str) -> str:
    """The algorithm "none", and no signature (RFC 8725, 2.1)."""
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims_of(token))}."


def confused(token: str, public_key: str) -> str:
    """The public key, which everybody has, taken for a shared secret (RFC 8725, 2.1)."""
    said = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims_of(token))}"
    signature = hmac.new(public_key.encode(), said.encode(), hashlib.sha256).digest()
    return f"{said}.{packed(signature)}"


def code_of(seed: str, at_s: float) -> str:
    """A one-time code (RFC 6238)."""
    counter = struct.pack(">Q", int(at_s) // CODE_STEP_S)
    digest = hmac.new(base64.b32decode(seed), counter, hashlib.sha1).digest()
    at = digest[-1] & 0x0F
    number = struct.unpack(">I", digest[at : at + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


class Visitor(GeoUser):
    """Somebody at an edge."""

    abstract = True
    rate_per_s = 1

    def login(self, session: Session) -> Flow:
        shard = session.population.labels.get("shard", "us")
        session.user = f"{shard}-{session.stream % USERS_PER_SHARD}"
        session.algorithm = ("HS256", "RS256")[session.stream % 2]
        session.strong = session.seed = session.public_key = session.foreign = session.short = ""
        session.short_since_s = 0.0
        session.token = yield from self.sign_in(session, "log in")

    def sign_in(self, session: Session, name: str, **asked: Any) -> Flow:
        body = {"user": session.user, "alg": session.algorithm, **asked}
        reply = yield post("/login", name=name, json=body, timeout_s=TIMEOUT_S)
        return reply.json()["token"] if reply.ok else ""

    def flow(self, session: Session) -> Flow:
        if not session.token:
            session.token = yield from self.sign_in(session, "log in")
            return
        yield from self.visit(session)

    def visit(self, session: Session) -> Flow:
        """One thing of theirs."""
        raise NotImplementedError


class Welcome(Visitor):
    """Has a good token; some have a second factor."""

    weight = 6

    def visit(self, session: Session) -> Flow:
        pick = session.random.random()
        if pick < 0.75:
            yield self.ask("/session", "session", session.token, {200})
        elif pick < 0.85:
            yield self.ask("/vault", "vault without second factor", session.token, {403})
        elif session.strong:
            yield self.ask("/vault", "vault", session.strong, {200})
        elif session.seed:
            body = {"code": code_of(session.seed, time.time())}
            headers = bearer(session.token)
            reply = yield post(
                "/mfa", name="second factor", json=body, headers=headers, timeout_s=TIMEOUT_S
            )
            session.strong = reply.json()["token"] if reply.ok else ""
        else:
            reply = yield self.ask("/mfa", "enrol", session.token, {200})
            session.seed = reply.json()["seed"] if reply.ok else ""

    def ask(self, path: str, name: str, token: str, expect: set[int]) -> Request:
        headers = bearer(token)
        return get(path, name=name, headers=headers, expect=expect, timeout_s=TIMEOUT_S)


class Intruder(Visitor):
    """Has tokens that are forged, expired, unsigned, or somebody else's."""

    weight = 4

    def visit(self, session: Session) -> Flow:
        pick = session.random.randrange(5)
        if pick == 0:
            yield self.refused("forged token", changed(session.token))
        elif pick == 1:
            yield self.refused("unsigned token", unsigned(session.token))
        elif pick == 2:
            yield from self.foreign(session)
        elif pick == 3:
            yield from self.expired(session)
        else:
            yield from self.confuse(session)

    def foreign(self, session: Session) -> Flow:
        if session.foreign:
            yield self.refused("token for others", session.foreign)
        else:
            session.foreign = yield from self.sign_in(session, "log in elsewhere", audience="else")

    def expired(self, session: Session) -> Flow:
        if not session.short:
            session.short = yield from self.sign_in(
                session, "log in shortly", expiresIn=SHORT_LIFE_S
            )
            session.short_since_s = time.monotonic()
        elif time.monotonic() - session.short_since_s > SURELY_OVER_S:
            yield self.refused("expired token", session.short)
        else:
            yield self.refused("forged token", changed(session.token))

    def confuse(self, session: Session) -> Flow:
        if session.public_key:
            token = confused(session.token, session.public_key)
            yield self.refused("key confusion", token)
        else:
            reply = yield get("/keys", name="public key", timeout_s=TIMEOUT_S)
            session.public_key = reply.json()["publicKey"] if reply.ok else ""

    def refused(self, name: str, token: str) -> Request:
        headers = bearer(token)
        return get("/session", name=name, headers=headers, expect={401}, timeout_s=TIMEOUT_S)
