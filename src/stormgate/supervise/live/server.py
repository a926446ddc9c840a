"""A small HTTP server for the live page, in a thread of the run's process, on loopback alone.

Whoever looks needs the token of the address. Everything is computed once a second and sent to all
viewers; one that does not read misses states, and holds nobody up.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from markupsafe import Markup

from stormgate.report.html.page import digest, resource

BEAT_S = 1.0
LAST_LOOK_S = 3.0
MOST_VIEWERS = 64
MOST_HEAD_BYTES = 16 << 10
HEAD_WITHIN_S = 10.0
SEND_WITHIN_S = 5.0

Act = Callable[[], str]


class LiveServer:
    """Serves while a run lasts. `state` gives what to show (None: nothing yet) from a second on;
    `acts` are what the buttons do, each answering with what it did.
    """

    def __init__(
        self, port: int, state: Callable[[int], dict[str, Any] | None], acts: Mapping[str, Act]
    ) -> None:
        self._state, self._acts = state, acts
        self._token = secrets.token_urlsafe(18)
        self._socket = socket.create_server(("127.0.0.1", port))
        self._port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._viewers: dict[asyncio.Event, None] = {}
        self._latest: dict[str, Any] = {}
        self._report: str | None = None
        self._fetched = 0
        self._thread = threading.Thread(target=self._serve, name="live page", daemon=True)

    @property
    def address(self) -> str:
        """Where the page is, token and all."""
        return f"http://127.0.0.1:{self._port}/?token={self._token}"

    def start(self) -> None:
        self._thread.start()

    def finish(self, report: str | None) -> None:
        """Give every viewer the report, and end: at the latest after LAST_LOOK_S."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(report), self._loop)
            self._thread.join(LAST_LOOK_S + 5)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._answer, sock=self._socket, limit=MOST_HEAD_BYTES)
        self._over = asyncio.Event()
        beat = asyncio.create_task(self._beat())
        await self._over.wait()
        beat.cancel()
        server.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(BEAT_S)

    def _look(self) -> None:
        """One look at the run for all viewers."""
        latest = self._state(max(0, len(self._latest.get("total", ())) - 10))
        if latest is None:
            return
        total = self._latest.get("total", [])[: latest["since_s"]] + latest["total"]
        good = self._latest.get("good", [])[: latest["since_s"]] + latest["good"]
        if latest.get("run") != self._latest.get("run"):
            total, good = latest["total"], latest["good"]
        self._latest = {**latest, "total": total, "good": good}
        for waiting in self._viewers:
            waiting.set()

    async def _end(self, report: str | None) -> None:
        self._report, asked = report or "", len(self._viewers)
        self._look()
        for waiting in self._viewers:
            waiting.set()
        deadline = self._loop.time() + LAST_LOOK_S
        while self._fetched < asked and report and self._loop.time() < deadline:
            await asyncio.sleep(0.05)
        self._over.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_WITHIN_S)
            await self._route(head.decode("latin-1"), writer)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, TimeoutError):
            pass  # a viewer that went away, or nothing of ours
        except asyncio.CancelledError:
            pass  # the gate is over; asyncio would print it for a stream that is still open
        finally:
            writer.close()

    async def _route(self, head: str, writer: asyncio.StreamWriter) -> None:
        line, *rest = head.split("\r\n")
        method, target = line.split(" ")[:2]
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (one.partition(":") for one in rest)
        }
        at = urlsplit(target)
        token = parse_qs(at.query).get("token", [""])[0]
        own = f"127.0.0.1:{self._port}"
        # Another name in Host is another site that had itself resolved to this machine.
        if headers.get("host") not in (own, own.replace("127.0.0.1", "localhost")):
            await _send(writer, 421, "text/plain", "not asked by this name")
        elif not hmac.compare_digest(token.encode(), self._token.encode()):
            await _send(writer, 403, "text/plain", "the address that was printed has a token")
        elif method == "GET" and at.path == "/":
            await _send(writer, 200, "text/html", _page())
        elif method == "GET" and at.path == "/events":
            await self._events(writer)
        elif method == "GET" and at.path == "/report" and self._report:
            await _send(writer, 200, "text/html", self._report)
            self._fetched += 1
        elif at.path.lstrip("/") in self._acts:
            await self._act(method, at.path.lstrip("/"), headers, writer)
        else:
            await _send(writer, 404, "text/plain", "there is nothing here")

    async def _act(
        self, method: str, name: str, headers: Mapping[str, str], writer: asyncio.StreamWriter
    ) -> None:
        """A button. Only by POST and with a header that no form of another site can set."""
        if method != "POST" or headers.get("x-stormgate") != "live":
            await _send(writer, 405, "text/plain", "only from the page itself")
            return
        told = await self._loop.run_in_executor(None, self._acts[name])
        await _send(writer, 200, "application/json", json.dumps({"told": told}))

    async def _events(self, writer: asyncio.StreamWriter) -> None:
        if len(self._viewers) >= MOST_VIEWERS:
            await _send(writer, 503, "text/plain", f"{MOST_VIEWERS} viewers are enough")
            return
        writer.write(_head(200, "text/event-stream", None))
        waiting, known, run = asyncio.Event(), 0, None
        waiting.set()
        self._viewers[waiting] = None
        try:
            while True:
                await waiting.wait()
                waiting.clear()
                state, over = self._latest, self._report is not None
                if not state and not over:
                    continue  # nothing to show yet
                known = known if state.get("run") == run else 0
                run, since = state.get("run"), max(0, known - 10)
                shown = {**state, "since_s": since}
                for key in ("total", "good"):
                    shown[key] = state.get(key, [])[since:]
                known = len(state.get("total", ()))
                name = "done" if over else "state"
                text = json.dumps(shown, separators=(",", ":"), allow_nan=False)
                writer.write(f"event: {name}\ndata: {text}\n\n".encode())
                await asyncio.wait_for(writer.drain(), SEND_WITHIN_S)
                if over:
                    return
        finally:
            self._viewers.pop(waiting, None)


def _policy() -> str:
    """What the live page may do, and the report that it becomes: our two scripts and styles, and
    asking this server.
    """
    scripts = " ".join(f"'{digest(code)}'" for code in (live_script(), resource("page.js")))
    styles = " ".join(f"'{digest(css)}'" for css in (live_style(), resource("page.css")))
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def live_script() -> str:
    return _own("live.js")


def live_style() -> str:
    return resource("page.css") + _own("live.css")


def _own(name: str) -> str:
    return resources.files("stormgate.supervise.live").joinpath(name).read_text(encoding="utf-8")


def _page() -> str:
    return Markup(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>Stormgate, live</title>\n<style>{}</style>\n</head>\n<body>\n"
        '<main id="live"><p>Waiting for the run …</p></main>\n'
        "<script>{}</script>\n</body>\n</html>\n"
    ).format(
        Markup(live_style()),  # noqa: S704 - our own
        Markup(live_script()),  # noqa: S704 - our own
    )


def _head(status: int, kind: str, length: int | None) -> bytes:
    lines = [f"HTTP/1.1 {status} .", f"Content-Type: {kind}; charset=utf-8"]
    lines += [] if length is None else [f"Content-Length: {length}"]
    lines += [f"Content-Security-Policy: {_policy()}"]
    # The address holds the token: it goes nowhere as a referrer, and nothing of this is kept.
    lines += ["Referrer-Policy: no-referrer", "Cache-Control: no-store"]
    lines += ["X-Content-Type-Options: nosniff", "X-Frame-Options: DENY", "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _send(writer: asyncio.StreamWriter, status: int, kind: str, text: str) -> None:
    body = text.encode()
    writer.write(_head(status, kind, len(body)) + body)
    await asyncio.wait_for(writer.drain(), SEND_WITHIN_S)
