"""One proxied connection: two sockets, two directions, and the stages on each.

With no toxic on a direction its bytes go from the read callback straight into the other socket;
that is the fast path, and nothing may be added to it lightly.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol, cast

from stormgate.toxiproxy.embedded.live_toxic import LiveToxic
from stormgate.toxiproxy.embedded.stage import Stage, StageSink
from stormgate.toxiproxy.types import Stream

# Shared by all sockets: asyncio fills it and hands it over within one callback, and what is kept is
# copied out.
_READ = memoryview(bytearray(64 * 1024))
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class LinkOwner(Protocol):
    """What a link knows of the proxy it belongs to."""

    rng: random.Random

    def toxics_of(self, stream: Stream) -> list[LiveToxic]:
        """The toxics on a direction, in order."""

    def link_gone(self, link: Link) -> None:
        """Both sides are closed."""


class Peer(asyncio.BufferedProtocol):
    """One socket. Reads for its `outgoing` direction, and is what its `incoming` direction writes
    to.
    """

    __slots__ = ("forward", "incoming", "lost", "outgoing", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.forward: Callable[[bytes], Any] = _discard
        self.outgoing: Direction = cast("Direction", None)
        self.incoming: Direction = cast("Direction", None)
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # Nothing is read before both sides are connected and the toxics are in place. Not paused
        # here but right after: asyncio before 3.11.4 begins to read once this returns, paused or
        # not.
        asyncio.get_running_loop().call_soon(self.transport.pause_reading)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _READ

    def buffer_updated(self, nbytes: int) -> None:
        self.outgoing.received += nbytes
        self.forward(bytes(_READ[:nbytes]))

    def eof_received(self) -> bool:
        if self.outgoing is not None:
            self.outgoing.finish()
        return True  # the other direction may still have something to deliver

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.outgoing is not None:
            self.outgoing.finish()
            self.incoming.abandon()
            self.outgoing.link.peer_lost()

    def pause_writing(self) -> None:
        if self.incoming is not None:
            self.incoming.hold(True)

    def resume_writing(self) -> None:
        if self.incoming is not None:
            self.incoming.hold(False)


def _discard(data: bytes) -> None:
    return None


class Direction:
    """Bytes from `source` to `dest` through the stages, in order."""

    __slots__ = (
        "_blocked",
        "_held",
        "_loop",
        "dest",
        "done",
        "ended",
        "link",
        "received",
        "source",
        "stages",
        "stream",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, link: Link, stream: Stream, source: Peer, dest: Peer
    ) -> None:
        self._loop = loop
        self.link = link
        self.stream: Stream = stream
        self.source = source
        self.dest = dest
        self.stages: list[tuple[LiveToxic, Stage]] = []
        self.received = 0
        self.ended = False  # the source has closed
        self.done = False  # the destination was told, or is gone
        self._blocked = False  # the destination cannot take more now
        self._held = False  # the source is paused

    # As the last sink of the chain: towards the socket.

    def feed(self, data: bytes) -> None:
        self.dest.transport.write(data)

    def finish_output(self) -> None:
        """Close the whole destination, not one half of it: Toxiproxy does so, and programs may rely
        on it.
        """
        if not self.done:
            self.done = True
            self.dest.transport.close()

    # As the source sees it.

    def finish(self) -> None:
        """The source has closed; what is under way still arrives."""
        if not self.ended:
            self.ended = True
            if self.stages:
                self.stages[0][1].finish()
            else:
                self.finish_output()

    def abandon(self) -> None:
        """The destination is gone: nothing can arrive any more."""
        self.done = True
        self.source.forward = _discard
        for _, stage in self.stages:
            stage.abandon()
        self._apply_hold()

    # Toxics.

    def add(self, toxic: LiveToxic) -> None:
        """Put the toxic at the end of the chain, acting at once."""
        if self.done:
            return
        stage = Stage(self._loop, toxic.new_flow(self.link.proxy.rng), self._on_room)
        self.stages.append((toxic, stage))
        self._wire()
        stage.start()

    def update(self, toxic: LiveToxic) -> None:
        for held, stage in self.stages:
            if held is toxic and not self.done:
                stage.replace(toxic.new_flow(self.link.proxy.rng, stage.flow))
        self._apply_hold()

    def remove(self, toxic: LiveToxic) -> None:
        for index, (held, stage) in enumerate(self.stages):
            if held is toxic:
                del self.stages[index]
                if self.done:
                    stage.abandon()
                    return
                close = toxic.kind.closes_on_removal or stage.flow.torn
                # A stage that had closed its output leaves an ended stream behind it, whatever
                # comes.
                closed = stage.closed
                stage.remove(close=close)
                self._wire()
                if close or closed:
                    self.source.forward = _discard
                self._apply_hold()
                return

    def _wire(self) -> None:
        sink: StageSink = _Output(self)
        for _, stage in reversed(self.stages):
            stage.next = sink
            sink = stage
        # The fast path: with no stage the read callback calls the socket's own write.
        self.source.forward = self._feed_stages if self.stages else self.dest.transport.write

    def connect(self) -> None:
        """Both sides are there: put the proxy's toxics on and let bytes flow."""
        for toxic in self.link.proxy.toxics_of(self.stream):
            if toxic.kind.resets:
                self.source.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
                )
                self.dest.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
                )
            self.add(toxic)
        if not self.stages:
            self._wire()

    # Backpressure: the source is paused while the socket is full or a stage holds more than its
    # toxic allows.

    def _feed_stages(self, data: bytes) -> None:
        self.stages[0][1].feed(data)
        self._apply_hold()

    def hold(self, blocked: bool) -> None:
        self._blocked = blocked
        self._apply_hold()

    def _on_room(self) -> None:
        self._apply_hold()

    def _apply_hold(self) -> None:
        full = any(stage.pending_bytes > stage.flow.window_bytes for _, stage in self.stages)
        hold = (self._blocked or full) and not self.done
        if hold != self._held:
            self._held = hold
            if hold:
                self.source.transport.pause_reading()
            else:
                self.source.transport.resume_reading()


class _Output:
    """The end of a chain, as a sink."""

    __slots__ = ("_direction",)

    def __init__(self, direction: Direction) -> None:
        self._direction = direction

    def feed(self, data: bytes) -> None:
        self._direction.feed(data)

    def finish(self) -> None:
        self._direction.finish_output()


class Link:
    """One client, its upstream connection, and the two directions between them."""

    __slots__ = ("_gone", "client", "directions", "proxy", "upstream")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, proxy: LinkOwner, client: Peer, upstream: Peer
    ) -> None:
        self.proxy = proxy
        self.client = client
        self.upstream = upstream
        up = Direction(loop, self, "upstream", client, upstream)
        down = Direction(loop, self, "downstream", upstream, client)
        self.directions: dict[Stream, Direction] = {"upstream": up, "downstream": down}
        client.outgoing, client.incoming = up, down
        upstream.outgoing, upstream.incoming = down, up
        self._gone = False

    def start(self) -> None:
        for direction in self.directions.values():
            direction.connect()
        self.upstream.transport.resume_reading()
        self.client.transport.resume_reading()

    def peer_lost(self) -> None:
        """Called as each side goes; when both are gone the proxy forgets the link."""
        if self.client.lost and self.upstream.lost and not self._gone:
            self._gone = True
            self.proxy.link_gone(self)

    def abort(self) -> None:
        """Close both sides now (the proxy is disabled)."""
        for direction in self.directions.values():
            direction.done = True
            direction.abandon()
        self.client.transport.abort()
        self.upstream.transport.abort()
