"""How long a server's certificate is still good."""

from __future__ import annotations

import ssl
import time
from urllib.parse import urlsplit

from stormgate.net.allow import AllowList
from stormgate.net.deadline import Deadline, connect


def days_left(url: str, allow: AllowList, deadline_s: float) -> float:
    """Days until the certificate behind an https URL ends; it is verified, name and all. Raises
    OSError (ssl.SSLError for the certificate) and NotAllowedError, which is a ValueError.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    deadline = Deadline(deadline_s)
    with connect(host, parts.port or 443, allow, deadline) as plain:
        plain.settimeout(deadline.left())
        with ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secured:
            certificate = secured.getpeercert() or {}
    ends_s = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return (ends_s - time.time()) / 86_400
