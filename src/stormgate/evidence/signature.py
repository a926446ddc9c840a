"""Who vouches for a sealed run: an Ed25519 signature over its manifest, as an in-toto statement in
a DSSE envelope (https://github.com/secure-systems-lab/dsse, https://in-toto.io/Statement/v1), so
that other tools can check it too.

The seal says that a folder is as it was sealed; only a signature says by whom, and so that it was
not made anew as a whole.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stormgate.evidence.manifest import MANIFEST, SIGNATURE, check_manifest
from stormgate.evidence.read import read_json, read_regular
from stormgate.system.files import write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://stormgate.dev/run/v1"
_MOST_BYTES = 1 << 20


class SignatureProblem(ValueError):  # noqa: N818 - it reads as what was found
    """A key or a signature that is not what it should be; the message says what."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a good signature says: the key's id, and the gate and verdict that were vouched for."""

    keyid: str
    gate: str
    verdict: str


def make_key(private: Path) -> Path:
    """Write a new private key (PEM, PKCS #8, this user alone can read it) and beside it its public
    key; the path of that. Raises FileExistsError rather than write over a key, and OSError.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    public = private.with_name(f"{private.name}.pub")
    if public.exists():
        raise FileExistsError(17, "there is a key already", str(public))
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(secret)
    write_atomically(
        public,
        key.public_key()
        .public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    )
    return public


def sign(folder: Path, private: Path) -> str:
    """Sign a sealed folder with the private key in a PEM file; the key's id. Raises
    SignatureProblem when the seal is not whole or the key is none, OSError.
    """
    key = _private_key(private)
    if problems := check_manifest(folder):
        raise SignatureProblem(f"what is not whole is not signed: {problems[0]}")
    payload = json.dumps(_statement(folder), sort_keys=True, separators=(",", ":")).encode()
    keyid = _keyid(key.public_key())
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(key.sign(_pae(payload))).decode()}],
    }
    write_atomically(folder / SIGNATURE, json.dumps(envelope, indent=1) + "\n")
    return keyid


def verify(folder: Path, public: Path) -> Signed:
    """Check that the folder is, file by file, what the owner of this key signed. Raises
    SignatureProblem naming the first thing that is not so, OSError for a key that cannot be read.
    """
    key = _public_key(public)
    keyid = _keyid(key)
    payload = _payload(folder, key, keyid)
    try:
        statement = json.loads(payload)
        subjects = statement["subject"]
        known = statement["_type"] == STATEMENT_TYPE
        known = known and statement["predicateType"] == PREDICATE_TYPE
        [digest] = [s["digest"]["sha256"] for s in subjects if s["name"] == MANIFEST]
        predicate = statement["predicate"]
        gate, verdict = str(predicate["gate"]), str(predicate["verdict"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SignatureProblem(f"{SIGNATURE}: signed, but no statement about a run") from error
    if not known:
        raise SignatureProblem(f"{SIGNATURE}: signed, but a statement about something else")
    if _manifest_digest(folder) != digest:
        raise SignatureProblem(f"{MANIFEST}: not the one that was signed")
    if problems := check_manifest(folder):
        raise SignatureProblem(problems[0])
    return Signed(keyid, gate, verdict)


def _payload(folder: Path, key: Ed25519PublicKey, keyid: str) -> bytes:
    """The payload that this key signed."""
    from cryptography.exceptions import InvalidSignature

    try:
        envelope = read_json(folder / SIGNATURE, _MOST_BYTES)
        payload = base64.b64decode(envelope["payload"], validate=True)
        if envelope["payloadType"] != PAYLOAD_TYPE:
            raise ValueError(f"its payload is no {PAYLOAD_TYPE}")
        signatures = [
            base64.b64decode(each["sig"], validate=True)
            for each in envelope["signatures"]
            if each.get("keyid", keyid) == keyid
        ]
    except FileNotFoundError:
        raise SignatureProblem(f"{SIGNATURE}: missing, so nobody vouches for this run") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise SignatureProblem(f"{SIGNATURE}: not an envelope ({error})") from error
    if not signatures:
        raise SignatureProblem(f"{SIGNATURE}: not signed with this key ({keyid[:16]})")
    for signature in signatures[:16]:
        try:
            key.verify(signature, _pae(payload))
        except InvalidSignature:
            continue
        return payload
    raise SignatureProblem(f"{SIGNATURE}: the signature is not of this content")


def _statement(folder: Path) -> dict[str, Any]:
    try:
        verdict = read_json(folder / "verdict.json")
    except (OSError, ValueError):
        verdict = {}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": MANIFEST, "digest": {"sha256": _manifest_digest(folder)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            name: verdict.get(name) for name in ("gate", "verdict", "exit_code", "plan_digest")
        },
    }


def _manifest_digest(folder: Path) -> str:
    try:
        return hashlib.sha256(read_regular(folder / MANIFEST)).hexdigest()
    except OSError as error:
        raise SignatureProblem(f"{MANIFEST}: cannot be read ({error})") from error


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _keyid(key: Ed25519PublicKey) -> str:
    """SHA-256 of the public key's DER, in hex."""
    from cryptography.hazmat.primitives import serialization as form

    der = key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(read_regular(path, _MOST_BYTES), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureProblem(f"{path}: no private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureProblem(f"{path}: not an Ed25519 key")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(read_regular(path, _MOST_BYTES))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureProblem(f"{path}: no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureProblem(f"{path}: not an Ed25519 key")
    return key
