"""The stand-in's network, on loopback: a Service's address leads to what its endpoints are (a pod
of Toxiproxy that really runs, or the one server behind all others), and a NetworkPolicy is enforced
as the test says.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.errors import ToxiproxyError
from stormgate.toxiproxy.server import find_server

PORT = 8080
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_numbers = itertools.count(2)


def address() -> str:
    """A loopback address that nobody has had."""
    number = next(_numbers)
    return f"127.77.{number // 250}.{number % 250 + 1}"


class Listener:
    """A TCP server: each connection is given to `serve` in a thread; all end with it."""

    def __init__(self, host: str, port: int, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._open: set[socket.socket] = set()
        self._socket = socket.create_server((host, port))
        self.port = int(self._socket.getsockname()[1])
        self.host = host
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.add(connection)
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(connection)
        self._open.discard(connection)

    def cut(self) -> None:
        """End every connection that is open."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.cut()


def http(connection: socket.socket) -> None:
    """Answers every request on a connection."""
    data = b""
    while got := connection.recv(65536):
        data += got
        while b"\r\n\r\n" in data:
            data = data.partition(b"\r\n\r\n")[2]
            connection.sendall(ANSWER)


def pipe(
    one: socket.socket, other: socket.socket, passes: Callable[[], bool] = lambda: True
) -> None:
    """Both ways until either ends; what does not pass is swallowed, as a packet is that is
    dropped.
    """
    pairs = {one: other, other: one}
    while True:
        for ready in select.select([one, other], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            if passes():
                pairs[ready].sendall(data)


class Network:
    """Leads the addresses of `world`'s services on."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.origin = Listener("127.0.0.1", 0, http)
        self.services: dict[str, list[Listener]] = {}
        self.proxies: dict[str, subprocess.Popen[bytes]] = {}
        # Which connections a policy that denies all cuts off: "none", "new", "all", or "half" of
        # the new ones, as where some nodes enforce it and others do not.
        self.enforces = "none"
        self.turn = itertools.count()

    def tick(self) -> None:
        """What is new gets its address; what is gone loses it. The world's lock is held."""
        there = {one["metadata"]["uid"]: one for one in self.world.all("services")}
        for uid in set(self.services) - set(there):
            for listener in self.services.pop(uid):
                listener.stop()
        for uid, one in there.items():
            if uid not in self.services:
                self.services[uid] = [
                    Listener(one["spec"]["clusterIP"], port["port"], self._lead(one, port))
                    for port in one["spec"].get("ports", [])
                ]
        pods = {one["metadata"]["uid"] for one in self.world.all("pods")}
        for uid in set(self.proxies) - pods:
            self._end(self.proxies.pop(uid))

    def begin(self, pod: Any) -> bool:
        """Run a pod of Toxiproxy; whether it answers."""
        uid, container = pod["metadata"]["uid"], pod["spec"]["containers"][0]
        if uid not in self.proxies:
            pod["_ip"] = address()
            found = find_server()
            program = [str(found.path)] if found.path else [
                sys.executable, "-m", "stormgate.toxiproxy.embedded"]  # fmt: skip
            arguments = [one.replace("$(POD_IP)", pod["_ip"]) for one in container["args"]]
            self.proxies[uid] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *program, *arguments],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        port = next(p["containerPort"] for p in container["ports"] if p["name"] == "stormgate-api")
        try:
            Client(f"http://{pod['_ip']}:{port}", 0.5).version()
        except ToxiproxyError:
            return False
        return True

    def stop(self) -> None:
        for child in self.proxies.values():
            self._end(child)
        for listener in itertools.chain([self.origin], *self.services.values()):
            listener.stop()

    def _lead(self, service: Any, port: Any) -> Callable[[socket.socket], None]:
        key = (service["metadata"]["namespace"], service["metadata"]["name"])

        def serve(connection: socket.socket) -> None:
            there = self._there(key, port)
            if there is None:
                return
            passes = self.enforces == "half" and next(self.turn) % 2
            if self.enforces != "none" and not passes and self._denied():
                connection.recv(65536)
                threading.Event().wait(5)  # nothing comes back
                return
            with socket.create_connection(there, timeout=5) as onward:
                onward.settimeout(None)
                pipe(connection, onward, lambda: not (self.enforces == "all" and self._denied()))

        return serve

    def _denied(self) -> bool:
        return bool(self.world.all("networkpolicies"))

    def _there(self, key: tuple[str, str], port: Any) -> tuple[str, int] | None:
        with self.world.lock:
            found = [one for one in self.world.slices(key[0]) if one["metadata"]["name"] == key[1]]
        ready = [e for one in found for e in one["endpoints"] if e["conditions"]["ready"]]
        if not ready:
            return None
        first = ready[0]["addresses"][0]
        if not first.startswith("127."):
            return "127.0.0.1", self.origin.port
        return first, port["targetPort"]

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.kill()
        child.wait()
