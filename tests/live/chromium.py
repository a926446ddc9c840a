"""A headless Chromium, driven over its DevTools protocol: what a page logs, asks for and shows."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
WAIT_S = 30.0


class Tab:
    """One page. `asked` are the addresses it requested, `said` what it logged or threw."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._wait_s = WAIT_S
        self.asked: list[str] = []
        self.said: list[str] = []

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """Wait so long for an answer, in this block."""
        self._wait_s = seconds
        self._socket.settimeout(seconds)
        try:
            yield
        finally:
            self._wait_s = WAIT_S
            self._socket.settimeout(WAIT_S)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command's result. Raises RuntimeError for an error, TimeoutError without an answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        deadline = time.monotonic() + self._wait_s
        while time.monotonic() < deadline:
            got = json.loads(self._socket.recv())
            if got.get("id") == number:
                if "error" in got:
                    raise RuntimeError(f"{method}: {got['error']}")
                return dict(got["result"])
            self._note(got)
        raise TimeoutError(method)

    def _note(self, got: dict[str, Any]) -> None:
        method, params = got.get("method"), got.get("params", {})
        if method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.said.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif method == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.said.append(str(params["args"])[:500])

    def open(
        self, address: str, width: int = 1280, height: int = 900, *, script: bool = True
    ) -> None:
        """Go to an address with a window of this size, and wait until it has loaded."""
        if self._session is None:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = str(attached["sessionId"])
            for domain in ("Page", "Network", "Log", "Runtime"):
                self.call(f"{domain}.enable")
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.asked.clear()
        self.said.clear()
        self.call("Page.navigate", url=address)
        self.until(lambda: self.run("document.readyState") == "complete")

    def run(self, code: str) -> Any:
        """The value of an expression in the page. Raises RuntimeError for what it throws."""
        result = self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"])[:500])
        return result["result"].get("value")

    def key(self, key: str, text: str = "") -> None:
        """Press and release a key, as a keyboard does."""
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39, "Escape": 27}
        pressed = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown", **pressed, **({"text": text} if text else {})
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def until(self, true: Callable[[], Any], seconds: float = WAIT_S) -> Any:
        """Wait until something is true. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not (value := true()):
            if time.monotonic() > deadline:
                raise TimeoutError("it did not become true")
            time.sleep(0.05)
        return value


@contextmanager
def browser(profile: Path) -> Iterator[Callable[[], Tab]]:
    """A browser that is ended with its context; what it yields opens a tab."""
    import websocket

    assert BROWSER is not None
    argv = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    argv += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "--disable-extensions"]
    process = subprocess.Popen(
        [*argv, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    sockets: list[Any] = []
    try:
        told = profile / "DevToolsActivePort"
        deadline = time.monotonic() + WAIT_S
        while not (told.exists() and len(told.read_text().splitlines()) > 1):
            if time.monotonic() > deadline or process.poll() is not None:
                raise TimeoutError("the browser did not start")
            time.sleep(0.05)
        port, path = told.read_text().splitlines()[:2]

        def tab() -> Tab:
            address = f"ws://127.0.0.1:{port}{path}"
            sockets.append(
                websocket.create_connection(address, timeout=WAIT_S, suppress_origin=True)
            )
            return Tab(sockets[-1])

        yield tab
    finally:
        for socket in sockets:
            socket.close()
        process.terminate()
        process.wait(timeout=20)
