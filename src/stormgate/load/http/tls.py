"""TLS of a load client: verified, with the server's name, HTTP/1.1."""

from __future__ import annotations

import ssl
import sys
from typing import Any

PROTOCOLS = ("http/1.1",)


class ClientContext(ssl.SSLContext):
    """A context that remembers whom it trusts, which `ssl` does not tell: so the compiled core can
    trust the same. Whoever adds to it afterwards has it used by the transport in Python alone.
    """

    cafile: str | None = None
    is_as_made = False

    def load_cert_chain(self, *args: Any, **kwargs: Any) -> None:
        self.is_as_made = False
        super().load_cert_chain(*args, **kwargs)

    def load_verify_locations(self, *args: Any, **kwargs: Any) -> None:
        self.is_as_made = False
        super().load_verify_locations(*args, **kwargs)


def client_context(cafile: str | None = None) -> ClientContext:
    """As `ssl.create_default_context`: trusts the certificates in `cafile`, without one those that
    the system trusts (SSL_CERT_FILE, SSL_CERT_DIR). Raises OSError when they cannot be read.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if cafile is None:
        context.set_default_verify_paths()
    else:
        context.load_verify_locations(cafile)
    context.set_alpn_protocols(list(PROTOCOLS))
    context.cafile, context.is_as_made = cafile, True
    return context
