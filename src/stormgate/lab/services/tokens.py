"""Tokens of the lab: who somebody is, signed, and a second factor. All an edge needs to check
one is in its own hands.

JWT (RFC 7519) with HS256, or RS256 where the lab has a key pair; one-time codes by RFC 6238 (30 s,
SHA-1, 6 digits), with a step's tolerance either way.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jwt

AUDIENCE = "chenu"
LIFETIME_S = 3600
_STEP_S = 30
_REQUIRED = ["exp", "sub", "aud"]


class Claims(NamedTuple):
    """Who asks, for the shard of their rows; until when, and whether with a second factor."""

    user: str
    shard: str
    expires_s: float
    second_factor: bool


@dataclass(frozen=True)
class TokenWorks:
    """Issues and checks tokens. `private_key` (PEM) is empty where the lab signs with `secret`
    alone.
    """

    secret: str
    private_key: str = ""

    @property
    def algorithms(self) -> tuple[str, ...]:
        return ("HS256", "RS256") if self.private_key else ("HS256",)

    @cached_property
    def signing_key(self) -> Any:
        """The private key, read once: that takes longer than a signature."""
        from cryptography.hazmat.primitives import serialization

        return serialization.load_pem_private_key(self.private_key.encode(), None)

    @cached_property
    def public_key(self) -> str:
        """What anybody may check RS256 with (PEM)."""
        from cryptography.hazmat.primitives import serialization

        form = serialization.PublicFormat.SubjectPublicKeyInfo
        found: bytes = self.signing_key.public_key().public_bytes(serialization.Encoding.PEM, form)
        return found.decode()

    def ready(self) -> None:
        """Sign and check once with each algorithm, so that no user waits for what that loads."""
        for algorithm in self.algorithms:
            self.check(self.issue("ready", "ready", time.time(), algorithm=algorithm))

    def issue(
        self,
        user: str,
        shard: str,
        now_s: float,
        *,
        lifetime_s: float = LIFETIME_S,
        audience: str = AUDIENCE,
        algorithm: str = "HS256",
        second_factor: bool = False,
    ) -> str:
        """A signed token."""
        said: dict[str, Any] = {"sub": user, "shard": shard, "aud": audience, "iat": int(now_s)}
        said["exp"] = int(now_s + lifetime_s)
        if second_factor:
            said["amr"] = ["pwd", "otp"]
        key = self.secret if algorithm == "HS256" else self.signing_key
        token: str = jwt.encode(said, key, algorithm=algorithm)
        return token

    def check(self, token: str) -> Claims | None:
        """What a token says, or None where it is not ours, not for us, not valid any more, or not
        signed in a way that is taken.
        """
        try:
            return _claims(self.verified(token))
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            return None

    def verified(self, token: str) -> dict[str, Any]:
        """The claims of a token whose signature, time and audience are right. Raises
        jwt.InvalidTokenError.
        """
        algorithm = jwt.get_unverified_header(token).get("alg")
        if algorithm not in self.algorithms:
            raise jwt.InvalidAlgorithmError(str(algorithm))
        # Each algorithm has its own key: a public key must never be taken for a shared secret.
        key = self.secret if algorithm == "HS256" else self.signing_key.public_key()
        found: dict[str, Any] = jwt.decode(
            token, key, algorithms=[algorithm], audience=AUDIENCE, options={"require": _REQUIRED}
        )
        return found

    def seed(self, user: str) -> str:
        """The shared secret of a user's one-time codes, base32."""
        digest = hmac.new(self.secret.encode(), f"totp:{user}".encode(), hashlib.sha1).digest()
        return base64.b32encode(digest).decode()

    def is_code(self, user: str, code: Any, now_s: float) -> bool:
        """Whether that is the user's one-time code about now."""
        steps = (-1, 0, 1)
        right = [one_time_code(self.seed(user), now_s + _STEP_S * step) for step in steps]
        return any(hmac.compare_digest(str(code), one) for one in right)


def _claims(said: dict[str, Any]) -> Claims:
    return Claims(
        str(said["sub"]), str(said["shard"]), float(said["exp"]), "otp" in said.get("amr", ())
    )


def one_time_code(seed: str, at_s: float) -> str:
    """The code of a base32 seed at a time (RFC 6238, truncation of RFC 4226 section 5.3)."""
    counter = struct.pack(">Q", int(at_s) // _STEP_S)
    digest = hmac.new(base64.b32decode(seed), counter, hashlib.sha1).digest()
    at = digest[-1] & 0x0F
    number = struct.unpack(">I", digest[at : at + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"
