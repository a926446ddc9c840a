"""A connection from before a fault, kept open as a client's pool does, and asked again while the
fault stands: many networks let it live on when new ones are cut.
"""

from __future__ import annotations

import socket

from stormgate.model import Observe

_LOOK_S = 1.0
_MOST_BYTES = 64 << 10


class Pooled:
    """One HTTP connection that has answered once. It is asked anew only when its last answer was
    read to its end, so that no late one is taken for a new one.
    """

    def __init__(self, seen: Observe) -> None:
        """Raises OSError, ValueError where none can be kept open."""
        if seen.protocol != "http":
            raise ValueError("only HTTP connections are kept")
        self._seen = seen
        host, _, port = seen.address.rpartition(":")
        self._socket = socket.create_connection((host.strip("[]"), int(port)), timeout=_LOOK_S)
        self._said = ""
        try:
            head = self._ask()
        except OSError:
            self._socket.close()
            raise
        if b"\r\nconnection: close" in head.lower():
            self._socket.close()
            raise ValueError("it closes every connection")

    def now(self) -> str:
        """What the connection does now, in words. Once it is silent or ended it stays so."""
        if self._said:
            return self._said
        try:
            self._ask()
        except TimeoutError:
            self._said = "silent"
        except OSError as error:
            self._said = f"ended ({error.strerror or type(error).__name__})"
        return self._said or "still answers"

    def close(self) -> None:
        """Let it go."""
        self._socket.close()

    def _ask(self) -> bytes:
        self._socket.settimeout(_LOOK_S)
        request = f"HEAD {self._seen.path} HTTP/1.1\r\nHost: {self._seen.address}\r\n\r\n"
        self._socket.sendall(request.encode())
        data = b""
        while b"\r\n\r\n" not in data:
            more = self._socket.recv(65536)
            if not more or len(data) > _MOST_BYTES:
                raise ConnectionResetError("closed")
            data += more
        return data
