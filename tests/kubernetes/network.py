"""What the agent has of a network, on loopback: 10.a.b.c stands for 127.a.b.c. Services lead to
their endpoints, the API server reaches pods and nodes through a proxy of ours (its egress), and a
node runs commands in its pods.
"""

from __future__ import annotations

import contextlib
import datetime
import random
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.live.kubernetes import websocket
from tests.live.kubernetes.network import Listener, pipe

HERE = Path(__file__).parent
EGRESS = "egress.sock"
Exec = Callable[[str, str, list[str]], tuple[bytes, bytes, int]]


def here(address: str) -> str:
    """The loopback address that stands for one of the cluster."""
    return "127." + address.partition(".")[2] if address.startswith("10.") else address


def toxiproxy(arguments: list[str], address: str) -> list[str]:
    """The command of a Toxiproxy pod at an address."""
    given = [f"-{one}".replace("$(POD_IP)", address) for one in arguments]
    return [sys.executable, str(HERE / "toxiproxy_pod.py"), *given]


def serve_exec(folder: Path, run: Exec) -> int:
    """Serve what a kubelet serves of exec; the port."""

    class Node(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            _, what, namespace, name, _ = (*url.path.split("/"), "", "", "")[:5]
            command = parse_qs(url.query).get("command", [])
            try:
                assert what == "exec"
                websocket.answer(self, *run(namespace, name, command))
            except (KeyError, AssertionError, AttributeError) as error:
                self.send_error(500, f"no exec there: {error!r}")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Node)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder / "node.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def serve_egress(path: Path) -> None:
    """Answer CONNECT on a socket of the file system, and lead on to where it stands for."""

    class Connect(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            host, _, port = self.rfile.readline().decode().split()[1].rpartition(":")
            while self.rfile.readline().strip():
                pass
            with contextlib.suppress(OSError):
                with socket.create_connection((here(host), int(port)), timeout=5) as onward:
                    onward.settimeout(None)
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    pipe(self.connection, onward)
                return
            with contextlib.suppress(OSError):
                self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    server = socketserver.ThreadingUnixStreamServer(str(path), Connect)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()


def lead_services(api: Any) -> None:
    """Listen on every Service's address, for as long as there is one."""
    listeners: dict[tuple[str, int], Listener] = {}
    while True:
        with contextlib.suppress(OSError, KeyError):
            wanted = {}
            for one in api.call("GET", "api/v1/services?resourceVersion=0")["items"]:
                if one["spec"].get("clusterIP", "None") != "None":
                    for port in one["spec"].get("ports") or []:
                        at = (here(one["spec"]["clusterIP"]), int(port["port"]))
                        wanted[at] = (one["metadata"], port.get("name", ""))
            for at in set(listeners) - set(wanted):
                listeners.pop(at).stop()
            for at in set(wanted) - set(listeners):
                listeners[at] = Listener(*at, _leading(api, *wanted[at]))
        time.sleep(0.1)


def _leading(api: Any, about: Any, name: str) -> Callable[[socket.socket], None]:
    path = f"apis/discovery.k8s.io/v1/namespaces/{about['namespace']}/endpointslices"
    query = f"labelSelector=kubernetes.io/service-name%3D{about['name']}&resourceVersion=0"

    def serve(connection: socket.socket) -> None:
        ends = [
            (here(address), port["port"])
            for one in api.call("GET", f"{path}?{query}")["items"]
            for end in one["endpoints"] or []
            if end["conditions"].get("ready")
            for address in end["addresses"]
            for port in one["ports"]
            if (port.get("name") or "") == name
        ]
        if ends:
            with socket.create_connection(random.choice(ends), timeout=5) as onward:
                onward.settimeout(None)
                pipe(connection, onward)

    return serve


def _certificate(path: Path) -> Path:
    """A key and a certificate that it signed itself: no API server here asks for another."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form, pem = serialization.PrivateFormat.TraditionalOpenSSL, serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, form, plain) + made.public_bytes(pem))
    return path
