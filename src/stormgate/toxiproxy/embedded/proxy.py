"""A proxy: a listener, its links, and the toxics on them.

Everything that changes it is synchronous: a request to the API is done, on all connections, before
the next one is looked at. There is no lock, so nothing can wedge.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket

from stormgate.toxiproxy.embedded import address
from stormgate.toxiproxy.embedded.link import Link, Peer
from stormgate.toxiproxy.embedded.live_toxic import LiveToxic
from stormgate.toxiproxy.toxics.base import ToxicType
from stormgate.toxiproxy.types import STREAMS, Stream

_LOG = logging.getLogger("toxiproxy")
_ACCEPT_BATCH = 64
_ACCEPT_PAUSE_S = 0.1


class LiveProxy:
    """Accepts on `listen`, connects each client to `upstream`."""

    def __init__(self, name: str, listen: str, upstream: str, rng: random.Random) -> None:
        """`rng` draws toxicity, jitter and slices. Disabled until `start`."""
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.rng = rng
        self.enabled = False
        self.toxics: dict[Stream, list[LiveToxic]] = {stream: [] for stream in STREAMS}
        self.bytes_gone: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        self._loop = asyncio.get_running_loop()
        self._links: set[Link] = set()
        self._dialling: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._resume: asyncio.TimerHandle | None = None

    # -- up and down

    def start(self) -> None:
        """Listen. Raises address.ListenError; then it stays disabled."""
        if self.enabled:
            return
        self._listener, self.listen = address.listen(self.listen)
        self._loop.add_reader(self._listener, self._accept)
        self.enabled = True

    def stop(self) -> None:
        """Stop listening and end every connection, also those whose upstream has not answered
        yet.
        """
        if not self.enabled:
            return
        self.enabled = False
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        assert self._listener is not None  # noqa: S101 (set while enabled)
        self._loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        for task in list(self._dialling):
            task.cancel()
        for link in list(self._links):
            link.abort()

    def update(self, listen: str, upstream: str, enabled: bool) -> None:
        """Another address ends the connections; the same one keeps them. Raises
        address.ListenError.
        """
        if address.canonical(listen) != self.listen or upstream != self.upstream:
            self.stop()
            self.listen, self.upstream = listen, upstream
        if enabled:
            self.start()
        else:
            self.stop()

    # -- toxics

    def toxics_of(self, stream: Stream) -> list[LiveToxic]:
        return self.toxics[stream]

    def all_toxics(self) -> list[LiveToxic]:
        return [toxic for stream in STREAMS for toxic in self.toxics[stream]]

    def find_toxic(self, name: str) -> LiveToxic | None:
        return next((toxic for toxic in self.all_toxics() if toxic.name == name), None)

    def add_toxic(self, toxic: LiveToxic) -> None:
        self.toxics[toxic.stream].append(toxic)
        for link in list(self._links):
            link.directions[toxic.stream].add(toxic)

    def update_toxic(self, toxic: LiveToxic, kind: ToxicType, toxicity: float) -> None:
        toxic.kind, toxic.toxicity = kind, toxicity
        for link in list(self._links):
            link.directions[toxic.stream].update(toxic)

    def remove_toxic(self, toxic: LiveToxic) -> None:
        self.toxics[toxic.stream].remove(toxic)
        for link in list(self._links):
            link.directions[toxic.stream].remove(toxic)

    # -- connections

    def bytes_received(self, stream: Stream) -> int:
        """By all links, also those that still run."""
        return self.bytes_gone[stream] + sum(
            link.directions[stream].received for link in self._links
        )

    def link_gone(self, link: Link) -> None:
        self._links.discard(link)
        for stream in STREAMS:
            self.bytes_gone[stream] += link.directions[stream].received

    def _accept(self) -> None:
        listener = self._listener
        if listener is None:
            return
        for _ in range(_ACCEPT_BATCH):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors: the socket stays readable, so looking again at once would
                # spin.
                _LOG.error("proxy %s: accept: %s", self.name, error)
                self._loop.remove_reader(listener)
                self._resume = self._loop.call_later(_ACCEPT_PAUSE_S, self._accept_again)
                return
            sock.setblocking(False)
            task = self._loop.create_task(self._serve(sock))
            self._dialling.add(task)
            task.add_done_callback(self._dialling.discard)

    def _accept_again(self) -> None:
        self._resume = None
        if self._listener is not None:
            self._loop.add_reader(self._listener, self._accept)

    async def _serve(self, sock: socket.socket) -> None:
        """Connect an accepted client to the upstream; a dead upstream is a client that sees its
        connection end.
        """
        client, upstream = Peer(), Peer()
        try:
            host, port = address.split(self.upstream)
            await self._loop.connect_accepted_socket(lambda: client, sock)
            await self._loop.create_connection(lambda: upstream, host or "localhost", port)
        except (OSError, address.ListenError) as error:
            _LOG.warning(
                "proxy %s: unable to open connection to upstream %s: %s",
                self.name,
                self.upstream,
                error,
            )
            _end(client, upstream, sock)
        except asyncio.CancelledError:
            _end(client, upstream, sock)
            raise
        else:
            link = Link(self._loop, self, client, upstream)
            self._links.add(link)
            link.start()


def _end(client: Peer, upstream: Peer, sock: socket.socket) -> None:
    for peer in (client, upstream):
        if peer.transport is not None:
            peer.transport.abort()
    if client.transport is None:
        sock.close()
