"""A TLS server that does what it is told on each connection, and either transport before it."""

import contextlib
import select
import socket
import ssl
import subprocess
import threading
import time
from types import SimpleNamespace

from stormgate.load.engine.clock import TurnClock
from stormgate.load.engine.core import native
from stormgate.load.engine.core.odd import OddTransport
from stormgate.load.engine.core.transport import CoreTransport
from stormgate.load.engine.pool import Pools
from stormgate.load.engine.transport.sockets import SocketTransport
from stormgate.load.http.addresses import Addresses
from stormgate.load.http.tls import client_context
from stormgate.load.record.reasons import Reasons
from stormgate.model import Population

S = 1_000_000_000
ENGINES = ("sockets",) if native is None else ("sockets", "core")


def certificate(folder, *names):
    """(certificate, key) for names as `openssl` writes them (DNS:..., IP:...), signed by itself."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    argv += ["-nodes", "-days", "2", "-subj", "/CN=a", "-addext"]
    argv += [f"subjectAltName={','.join(names)}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(argv, check=True, capture_output=True)
    return cert, key


def server_context(files):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


class Server(threading.Thread):
    """Calls `act(server, sock)` for one connection after another; `secured` is for its use."""

    def __init__(self, act, files):
        super().__init__(daemon=True)
        self.act, self.context = act, server_context(files)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.accepted, self.failed, self.names = 0, [], []
        self.may_end = threading.Event()  # what the client has to see first, it has seen
        self.context.sni_callback = lambda _sock, name, _context: self.names.append(name)

    def run(self):
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(30)
                self.accepted += 1
                try:
                    with sock:
                        self.act(self, sock)
                except ssl.SSLError:
                    pass  # the client's word for it is asked for
                except Exception as error:
                    self.failed.append(error)

    def secured(self, sock):
        return self.context.wrap_socket(sock, server_side=True)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.may_end.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join(timeout=30)
        assert not self.is_alive()
        assert self.failed == []


def request_of(sock):
    """A request's head, b"" at the end."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        part = sock.recv(65_536)
        if not part:
            return b""
        data += part
    return data


class Client:
    """A transport without an engine."""

    def __init__(self, engine, port, files, *, host="localhost", context=None):
        url = f"https://{host}:{port}"
        people = Population(
            name="london", share=1, latitude=0, longitude=0, edges=("a",), links={"a": url}
        )
        self.pool = Pools(people, 0, {"a": url}).current
        self.pool.addresses = Addresses([(socket.AF_INET, ("127.0.0.1", port))])
        self.pool.tls = context or client_context(str(files[0]))
        self.said, self.slipped = [], []
        reasons = Reasons(lambda *what: self.said.append(what))
        kind = OddTransport if engine == "core" else SocketTransport
        self.transport = kind(TurnClock(), reasons, self.slipped.append, max_connections=50)
        if engine == "core":
            self.transport = CoreTransport(native, self.transport, reasons, self.slipped.append)
        self.transport.turn()

    def submit(self, path="/x", *, body=b"", timeout_ns=30 * S, connect_timeout_ns=30 * S):
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        attempt = SimpleNamespace(
            pool=self.pool,
            payload=head.encode() + body,
            timeout_ns=timeout_ns,
            connect_timeout_ns=connect_timeout_ns,
            intended_ns=time.monotonic_ns(),
            attempt=1,
            sent_ns=-1,
            started_ns=0,
            request=SimpleNamespace(is_head=False, name=path),
        )
        self.transport.submit(attempt)
        return attempt

    def until(self, condition, within_s=40):
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, "the condition did not come true"
            self.transport.flush()
            select.select([self.transport.fileno()], [], [], 0.005)
            self.transport.turn()
            self.transport.sweep(time.monotonic_ns())

    def ask(self, path="/x", **options):
        """(outcome, status, raw) of one attempt, and whether it was sent."""
        attempt = self.submit(path, **options)
        self.until(lambda: self.transport.ended)
        ended = self.transport.ended.popleft()
        assert ended[0] is attempt
        return ended[1:4], attempt.sent_ns >= 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.transport.close()
        assert self.slipped == []
