"""The server's end of a websocket (RFC 6455), as far as an exec needs it: a handshake, messages of
one frame each, a close.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from http.server import BaseHTTPRequestHandler
from typing import Any

PROTOCOL = "v4.channel.k8s.io"
_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE = 2, 8


def accept(handler: BaseHTTPRequestHandler) -> None:
    """Turn a request into a websocket."""
    key = handler.headers["Sec-WebSocket-Key"].encode()
    handler.send_response(101, "Switching Protocols")
    handler.send_header("Upgrade", "websocket")
    handler.send_header("Connection", "Upgrade")
    digest = base64.b64encode(hashlib.sha1(key + _KEY).digest()).decode()
    handler.send_header("Sec-WebSocket-Accept", digest)
    handler.send_header("Sec-WebSocket-Protocol", PROTOCOL)
    handler.end_headers()
    handler.close_connection = True


def answer(handler: BaseHTTPRequestHandler, out: bytes, err: bytes, code: int | None) -> None:
    """What a command wrote, and how it ended: None says nothing of that and hangs up."""
    accept(handler)
    for channel, data in ((1, out), (2, err)):
        if data:
            _send(handler, _BINARY, bytes([channel]) + data)
    if code is None:
        return
    _send(handler, _BINARY, b"\x03" + json.dumps(status(code)).encode())
    _send(handler, _CLOSE, struct.pack("!H", 1000))


def status(code: int) -> dict[str, Any]:
    """How a node tells an exit code."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _send(handler: BaseHTTPRequestHandler, kind: int, data: bytes) -> None:
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", 0x80 | kind, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | kind, 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | kind, 127, size)
    handler.wfile.write(head + data)
    handler.wfile.flush()
