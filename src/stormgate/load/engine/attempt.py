"""A flow in progress."""

from __future__ import annotations

from stormgate.load.engine.pool import Pool
from stormgate.load.engine.stream import Flow, Stream
from stormgate.load.flow import Request


def nothing() -> Flow:
    """A flow that asks for nothing."""
    yield from ()


class FlowTask:
    """A flow, and the one request it waits for, which a transport carries (its `LoadAttempt`).
    Times are CLOCK_MONOTONIC ns; `sent_ns` -1: nothing was written yet.
    """

    __slots__ = (
        "attempt",
        "code",
        "connect_timeout_ns",
        "flow",
        "hurt",
        "intended_ns",
        "is_login",
        "leads_to",
        "number",
        "payload",
        "pool",
        "redirects",
        "request",
        "sent_ns",
        "started_ns",
        "stream",
        "timeout_ns",
    )

    request: Request
    # Set when the request is prepared: where to, its bytes and deadlines, the code of its row.
    pool: Pool
    payload: bytes
    timeout_ns: int
    connect_timeout_ns: int
    code: int
    # Set when the request is submitted.
    number: int
    # Set by the transport.
    sent_ns: int
    started_ns: int

    def __init__(self, flow: Flow, stream: Stream, intended_ns: int) -> None:
        self.flow = flow
        self.stream = stream
        self.intended_ns = intended_ns
        self.attempt = 0  # of the request: none is under way
        self.redirects = 0
        self.leads_to: tuple[Request, Pool] | None = None  # of an answer that is a redirect
        self.is_login = False
        self.hurt = False  # an answer it had was not ok: what it raises then is no broken workload
