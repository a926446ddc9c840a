"""A server on loopback that says to each call of AWS what a script tells it to: for what no free
stand-in of AWS does, and for the days on which AWS itself does not.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Answer = tuple[int, str]
ACCOUNT = "123456789012"


def xml(operation: str, inside: str = "") -> Answer:
    """A whole answer of a service that speaks XML."""
    result = f"<{operation}Result>{inside}</{operation}Result>"
    return 200, f"<{operation}Response>{result}</{operation}Response>"


def error(code: str, message: str = "no", status: int = 400) -> Answer:
    """A refusal of such a service."""
    inside = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, f"<ErrorResponse>{inside}</ErrorResponse>"


def answer_json(value: Any, status: int = 200) -> Answer:
    """An answer of a service that speaks JSON."""
    return status, json.dumps(value)


class Script:
    """What was asked, and what is answered: `on[operation]` is an answer, or makes one of what was
    given. What nobody scripted is refused.
    """

    def __init__(self) -> None:
        self.on: dict[str, Answer | Callable[[dict[str, Any]], Answer]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.silent = False
        self.url = ""
        # Nobody holds a lease, and everybody may have one.
        self.on["POST /"] = answer_json({"Parameters": [], "Version": 1})
        self.on["GetCallerIdentity"] = xml("GetCallerIdentity", f"<Account>{ACCOUNT}</Account>")

    def answer(self, operation: str, given: dict[str, Any]) -> Answer:
        self.asked.append((operation, given))
        found = self.on.get(operation, error("NotScripted", operation))
        return found(given) if callable(found) else found

    def count(self, operation: str) -> int:
        return [name for name, _ in self.asked].count(operation)


@contextmanager
def scripted() -> Iterator[Script]:
    """Served as long as the context lasts."""
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            while script.silent:
                time.sleep(0.05)
            if "Action=" in body:
                fields = {key: values[0] for key, values in parse_qs(body).items()}
                status, text = script.answer(fields.pop("Action"), fields)
            else:
                path = f"{self.command} {self.path.partition('?')[0]}"
                status, text = script.answer(path, json.loads(body or "{}"))
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/xml" if text[:1] == "<" else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do_PUT = _any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield script
    finally:
        script.silent = False
        server.shutdown()
        server.server_close()
        thread.join(5)
