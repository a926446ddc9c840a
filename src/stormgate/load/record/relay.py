"""Evidence of a worker that cannot reach the run folder: sent to the master in Locust's own
messages, which writes it.

Every message has a sequence number and is kept until the master says it has it; what is not
confirmed in time is sent again, and the master takes each number once and in order. So a message
lost with a connection costs nothing, and one that never arrives is seen: the worker's final row is
then missing too.
"""

from __future__ import annotations

import functools
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gevent

from stormgate.evidence.write import JOINING
from stormgate.load.record.sink import FolderSink
from stormgate.load.record.writer import Clock
from stormgate.system.secrets import redacted_data

EVIDENCE = "stormgate.evidence"
CONFIRMED = "stormgate.confirmed"
PING = "stormgate.ping"
PONG = "stormgate.pong"
RESEND_S = 1.5
_CLOSE_S = 5.0
_PINGS = 9


class Outbox:
    """Numbered messages until they are confirmed. `send` takes (number, message); `clock` is in
    seconds.
    """

    def __init__(
        self,
        send: Callable[[int, dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._clock = clock
        self._next = 0
        self._kept: OrderedDict[int, tuple[float, dict[str, Any]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, message: dict[str, Any]) -> None:
        number, self._next = self._next, self._next + 1
        self._kept[number] = (self._clock(), message)
        self._send(number, message)

    def confirmed(self, number: int) -> None:
        """Everything up to and with `number` has arrived."""
        while self._kept and next(iter(self._kept)) <= number:
            self._kept.popitem(last=False)

    def resend(self) -> None:
        """Send again what has waited longer than `RESEND_S`, from the oldest on."""
        now = self._clock()
        if self._kept and now - next(iter(self._kept.values()))[0] > RESEND_S:
            for number, (_, message) in list(self._kept.items()):
                self._kept[number] = (now, message)
                self._send(number, message)


class Inbox:
    """The master's side of one worker: takes each number once and in order."""

    def __init__(self) -> None:
        self.last = -1

    def take(self, number: int) -> bool:
        """Whether to use the message; one that comes early will be sent again after those before
        it.
        """
        if number != self.last + 1:
            return False
        self.last = number
        return True


class MessageSink:
    """A `Sink` that sends everything to the master."""

    def __init__(self, runner: Any, worker: str) -> None:
        self._runner = runner
        self._worker = worker
        self._outbox = Outbox(self._post)
        # One process may write as several workers, and in several tests: each hears of its own.
        before = runner.custom_messages.pop(CONFIRMED, None)
        self._runner.register_message(CONFIRMED, functools.partial(self._on_confirmed, before))
        self._resender = gevent.spawn(self._resend)

    def _post(self, number: int, message: dict[str, Any]) -> None:
        self._runner.send_message(EVIDENCE, {"worker": self._worker, "number": number, **message})

    def _on_confirmed(self, before: Any, msg: Any, **kwargs: Any) -> None:
        if msg.data["worker"] == self._worker:
            self._outbox.confirmed(msg.data["number"])
        elif before is not None:
            before[0](msg=msg, **kwargs)

    def _resend(self) -> None:
        while True:
            gevent.sleep(RESEND_S / 3)
            self._outbox.resend()

    def block(self, data: bytes) -> None:
        self._outbox.put({"block": data})

    def operations(self, data: bytes) -> None:
        self._outbox.put({"operations": data})

    def generator(self, row: Mapping[str, Any]) -> None:
        self._outbox.put({"generator": dict(row)})

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        # Here already: this worker may know what the master, who writes it, does not.
        fields = redacted_data(dict(fields), keep=JOINING)
        self._outbox.put({"event": name, "fields": fields})

    def close(self) -> None:
        """Wait until the master has everything, for a while."""
        self._outbox.put({"close": True})
        deadline = time.monotonic() + _CLOSE_S
        while len(self._outbox) and time.monotonic() < deadline:
            gevent.sleep(0.02)
        self._resender.kill()


class Receiver:
    """Writes what `MessageSink`s send into the run folder; registered on a master."""

    def __init__(self, runner: Any, folder: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._sinks: dict[str, tuple[Inbox, FolderSink]] = {}
        runner.register_message(EVIDENCE, self._on_evidence)

    def _on_evidence(self, msg: Any, **_: Any) -> None:
        data = msg.data
        worker = str(data["worker"])
        if worker not in self._sinks:
            if data["number"] != 0:
                return
            self._sinks[worker] = (Inbox(), FolderSink(self._folder, worker))
        inbox, sink = self._sinks[worker]
        if inbox.take(data["number"]):
            self._use(sink, data)
        confirmed = {"worker": worker, "number": inbox.last}
        self._runner.send_message(CONFIRMED, confirmed, msg.node_id)

    @staticmethod
    def _use(sink: FolderSink, data: Mapping[str, Any]) -> None:
        if "block" in data:
            sink.block(data["block"])
        elif "operations" in data:
            sink.operations(data["operations"])
        elif "generator" in data:
            sink.generator(data["generator"])
        elif "event" in data:
            sink.event(data["event"], data["fields"])
        else:
            sink.close()


def answer_pings(runner: Any) -> None:
    """Let workers measure their clock against this master's."""
    runner.register_message(
        PING,
        lambda msg, **_: runner.send_message(
            PONG, {"sent": msg.data["sent"], "master": time.monotonic_ns()}, msg.node_id
        ),
    )


def best_offset(exchanges: list[tuple[int, int, int]]) -> Clock:
    """The clock from exchanges (sent here, stamped there, received here), all ns: that with the
    shortest round trip decides.

    Offset = stamped - (sent + received) / 2, wrong by at most half the round trip (Cristian,
    Distributed Computing 3, 1989).
    """
    sent, stamped, received = min(exchanges, key=lambda e: e[2] - e[0])
    return Clock(stamped - (sent + received) // 2, (received - sent + 1) // 2)


class ClockMeter:
    """A worker's side of the pings."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._exchanges: list[tuple[int, int, int]] = []
        runner.register_message(PONG, self._on_pong)

    def _on_pong(self, msg: Any, **_: Any) -> None:
        self._exchanges.append((msg.data["sent"], msg.data["master"], time.monotonic_ns()))

    def begin(self) -> None:
        """Send the pings; answers come while the worker waits for its first users."""
        for _ in range(_PINGS):
            self._runner.send_message(PING, {"sent": time.monotonic_ns()})
            gevent.sleep(0.01)

    def clock(self) -> Clock | None:
        """What was measured; None when no answer has come."""
        return best_offset(self._exchanges) if self._exchanges else None
