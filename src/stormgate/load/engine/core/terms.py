"""TLS in the core: the terms of a context, said to the interpreter's own OpenSSL once more."""

from __future__ import annotations

import _ssl
import ipaddress
import ssl
from collections.abc import Callable
from typing import Any

from stormgate.load.http.tls import PROTOCOLS, ClientContext

# openssl/x509v3.h
_NO_PARTIAL_WILDCARDS, _NEVER_CHECK_SUBJECT = 0x4, 0x20
_ANY_VERSION = 0
# X509_verify_cert_error_string says less than the interpreter's `ssl` does.
_MISMATCHES = {
    text.lower(): f"{text}, certificate is not valid for '{{host}}'."
    for text in ("Hostname mismatch", "IP address mismatch")
}


class NoTermsError(Exception):
    """Why the core cannot speak TLS as a context does."""


def terms(tls: Callable[..., object], context: Any) -> object:
    """What a pool of the core is given for a context; `tls` is the core's. Raises NoTermsError."""
    if not isinstance(context, ClientContext) or not context.is_as_made:
        raise NoTermsError("TLS by a context that is not the engine's own")
    if context.verify_mode != ssl.CERT_REQUIRED or not context.check_hostname:
        raise NoTermsError("TLS without verification")
    if context.keylog_filename or context.sni_callback:
        raise NoTermsError("TLS whose keys are logged")
    suites = [c["name"] for c in context.get_ciphers() if c["protocol"] == "TLSv1.3"]
    ciphers = [c["name"] for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"]
    subject = 0 if context.hostname_checks_common_name else _NEVER_CHECK_SUBJECT
    try:
        return tls(
            getattr(_ssl, "__file__", None),
            ssl.OPENSSL_VERSION,
            context.cafile,
            int(context.options),
            int(context.verify_flags),
            int(context.verify_mode),
            (_version(context.minimum_version), _version(context.maximum_version)),
            context.security_level,
            _NO_PARTIAL_WILDCARDS | subject,
            ":".join(ciphers),
            ":".join(suites),
            b"".join(bytes([len(name)]) + name.encode() for name in PROTOCOLS),
        )
    except OSError as error:
        raise NoTermsError(f"TLS ({error})") from error


def peer(host: str) -> tuple[str, bool]:
    """The name a server's certificate has to bear, and whether that is an address."""
    try:
        return str(ipaddress.ip_address(host)), True
    except ValueError:
        pass
    try:
        return host.encode("idna").decode(), False
    except UnicodeError as error:
        raise NoTermsError(f"TLS with the name {host!r}") from error


def tls_trouble(why: str, host: str) -> str:
    """Why TLS was not agreed on, as `ssl` says it."""
    return _MISMATCHES.get(why.lower(), why).format(host=host)


def _version(version: ssl.TLSVersion) -> int:
    return version if version > 0 else _ANY_VERSION
