"""One command in a container, over the API server's websocket: what it said, and how it ended. A
command whose end nobody told did not succeed.
"""

from __future__ import annotations

import contextvars
import json
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from stormgate.faults.backends.kubernetes.api import (
    CONNECT_S,
    READ_S,
    Cluster,
    KubernetesError,
    left_s,
    path_of,
)

# The first byte of each message says what it carries; the last protocol that every API server since
# 1.6 hands through to the node unchanged.
PROTOCOL = "v4.channel.k8s.io"
_STDOUT, _STDERR, _STATUS = 1, 2, 3
_MOST_BYTES = 1 << 20
_THREADS = 16
_WORDS = 300

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command wrote, and its exit `code`: None when nobody told how it ended (`why`)."""

    out: str
    err: str
    code: int | None
    why: str = ""

    def __str__(self) -> str:
        ended = f"ended with {self.code}" if self.code is not None else "nobody told how it ended"
        said = " ".join((self.err or self.why).split())[:_WORDS]
        return f"{ended}{f': {said}' if said else ''}"


def run(
    cluster: Cluster, pod: Mapping[str, Any], argv: Sequence[str], *, most_s: float = READ_S
) -> Ran:
    """Run `argv` in the noted pod's `container`; no longer than `most_s`. Raises KubernetesError
    when the API server or the node refuses to run it, or nobody answers.
    """
    import websocket

    path = path_of("pods/exec", pod["ns"], pod["name"])
    told = f"{path} in container {pod['container']}"
    query = [("command", word) for word in argv]
    query += [("container", str(pod["container"])), ("stdout", "true"), ("stderr", "true")]
    address = cluster.access.server.replace("http", "ws", 1)
    end = time.monotonic() + left_s(most_s)
    left = end - time.monotonic()
    if left <= 0:
        raise KubernetesError(0, f"exec {told}: not asked, time was over")

    def connect() -> Any:
        return websocket.create_connection(
            f"{address}/{path}?{urlencode(query)}",
            timeout=min(CONNECT_S, left),
            header=[f"{name}: {value}" for name, value in cluster.authorization().items()],
            subprotocols=[PROTOCOL],
            sslopt=_tls(cluster.settings()),
            http_no_proxy=["*"],
            redirect_limit=0,
        )

    try:
        try:
            socket: Any = connect()
        except websocket.WebSocketBadStatusException as error:
            if error.status_code != 401 or not cluster.renewed():
                raise
            socket = connect()
    except websocket.WebSocketBadStatusException as error:
        body = error.resp_body or b""
        data = body if isinstance(body, bytes) else str(body).encode()
        raise cluster.error("GET", told, int(error.status_code), data) from None
    except (websocket.WebSocketException, OSError, ValueError) as error:
        raise KubernetesError(0, f"exec {told}: no answer: {_short(error)}") from None
    try:
        return _read(socket, end)
    finally:
        socket.shutdown()


def in_each(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` over all items at once, each within the time that this thread was given."""
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        tasks = [pool.submit(contextvars.copy_context().run, work, item) for item in items]
        return [task.result() for task in tasks]


def _read(socket: Any, end: float) -> Ran:
    import websocket

    parts: dict[int, bytearray] = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    why = "the connection ended"
    try:
        while (left := end - time.monotonic()) > 0:
            socket.settimeout(left)
            kind, data = socket.recv_data()
            if kind == websocket.ABNF.OPCODE_CLOSE:
                break
            if not data:
                continue
            parts.setdefault(data[0], bytearray()).extend(data[1:])
            if sum(map(len, parts.values())) > _MOST_BYTES:
                why = f"it wrote more than {_MOST_BYTES >> 20} MiB"
                break
            if data[0] == _STATUS and len(data) > 1:
                break
        else:
            why = "no end in time"
    except (websocket.WebSocketException, OSError) as error:
        why = _short(error)
    out, err = (parts[one].decode("utf-8", "replace") for one in (_STDOUT, _STDERR))
    code, said = ended(bytes(parts[_STATUS]))
    return Ran(out, err, code, said or why)


def ended(status: bytes) -> tuple[int | None, str]:
    """The exit code that the last message tells, and its words. A command that could not be begun
    has none.
    """
    try:
        found = json.loads(status)
        told = str(found.get("message") or "")
        if found.get("status") == "Success":
            return 0, ""
        causes = (found.get("details") or {}).get("causes") or []
        codes = [one["message"] for one in causes if one.get("reason") == "ExitCode"]
        return (int(codes[0]), told) if codes else (None, told)
    except (ValueError, AttributeError, KeyError, TypeError):
        return None, ""


def _tls(settings: Any) -> dict[str, Any]:
    """As the client itself opens its connections."""
    if not settings.verify_ssl:
        found: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    else:
        found = {"cert_reqs": ssl.CERT_REQUIRED}
        found |= {"ca_certs": settings.ssl_ca_cert} if settings.ssl_ca_cert else {}
        if settings.assert_hostname is False:
            found["check_hostname"] = False
    found |= {"certfile": settings.cert_file} if settings.cert_file else {}
    found |= {"keyfile": settings.key_file} if settings.key_file else {}
    name = getattr(settings, "tls_server_name", None)
    return found | ({"server_hostname": name} if name else {})


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:_WORDS] or type(error).__name__
