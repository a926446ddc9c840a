"""What a flow yields and what it is sent back: requests, think time and replies.

A flow is a generator: `reply = yield get("/threads", name="list threads")`. Requests are immutable,
so that the common ones are made once and cached.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from stormgate.load.choice import Template, choices_in
from stormgate.load.http.content import MOST_BYTES, ContentError, decoded
from stormgate.load.http.head import OF_THE_BODY, body_of, extra_headers, without
from stormgate.load.options import (
    MOST_ATTEMPTS,
    deadline_ns,
    fitting,
    method_word,
    name_text,
    op_word,
    outcomes,
    path_text,
    seconds,
    shown,
    statuses,
    switch,
    whole,
)
from stormgate.model import Outcome

if TYPE_CHECKING:
    from stormgate.load.http.response import Headers

DEFAULT_TIMEOUT_S = 10.0
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# What a check can only raise by its own fault, whatever the body.
_SLIPS = (NameError, ImportError, NotImplementedError, RecursionError)


class Way(Protocol):
    """What a request's head has of the way it goes: a pool, of which a flow knows no more."""

    prefix: str
    headers: bytes


@dataclass(frozen=True, slots=True)
class Retry:
    """An explicit retry policy: up to `attempts` attempts in all, again only after one of the
    outcomes `on`.

    Each attempt is a sample of its own. With `next_edge` an attempt after the first goes to the
    population's next-nearest edge. A `not_sent` request is never retried: that is the generator's
    own limit, not the target's answer.

    Raises TypeError or ValueError for what is none of these, where it is written.
    """

    attempts: int = 2
    on: frozenset[Outcome] = frozenset({Outcome.REFUSED, Outcome.RESET, Outcome.CONNECT_TIMEOUT})
    next_edge: bool = True

    def __post_init__(self) -> None:
        attempts = whole("Retry(attempts=)", self.attempts)
        if not 1 <= attempts <= MOST_ATTEMPTS:
            raise ValueError(
                f"Retry(attempts=) takes 1 to {MOST_ATTEMPTS} attempts in all, not {attempts}"
            )
        object.__setattr__(self, "attempts", attempts)
        object.__setattr__(self, "on", outcomes(self.on))
        if not isinstance(self.next_edge, bool):
            raise TypeError(f"Retry(next_edge=) takes True or False, not {shown(self.next_edge)}")


@dataclass(frozen=True, slots=True)
class Think:
    """A pause of the user; the next request's intended start is the end of the one before plus
    this. Raises TypeError or ValueError for what is no length of time: a pause backwards would
    backdate the next request.
    """

    seconds: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", seconds("think", self.seconds))


@dataclass(frozen=True, slots=True)
class Between:
    """A pause of declared steps, drawn evenly. Raises TypeError or ValueError as `Think` does."""

    least_s: float
    most_s: float

    def __post_init__(self) -> None:
        if seconds("think", self.least_s) > seconds("think", self.most_s):
            raise ValueError(f"think({self.least_s}, {self.most_s}): the shorter one is first")


def think(least_s: float, most_s: float | None = None) -> Think | Between:
    """A pause of `least_s` seconds of user time. With `most_s`, which is for `steps` alone, each
    arrival draws one from `least_s` to `most_s` by the run's seed. Raises TypeError or ValueError
    for what is no length of time.
    """
    return Think(least_s) if most_s is None else Between(least_s, most_s)


class Request:
    """One request of a flow. Made by `get`, `post`, ...; see `request` for the meaning of each
    option.
    """

    __slots__ = (
        "body",
        "check",
        "codes",
        "connect_timeout_ns",
        "cookies",
        "decode",
        "expect",
        "extra",
        "heads",
        "is_bare",
        "is_head",
        "is_plain",
        "looks_inside",
        "max_decoded_bytes",
        "method",
        "name",
        "op",
        "path",
        "redirects",
        "retry",
        "timeout_ns",
    )

    def __init__(  # noqa: PLR0913 - one keyword per property of an HTTP request
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connect_timeout_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | str | None = None,
        op: str | None = None,
        expect: Iterable[int] | None = None,
        check: Callable[[Reply], bool] | None = None,
        retry: Retry | None = None,
        redirects: int = 0,
        decode: bool = False,
        max_decoded_bytes: int = MOST_BYTES,
        cookies: bool = True,
    ) -> None:
        self.method = method_word(method)
        self.path = path_text(path)
        self.name = name_text(name) or self.path
        self.op = op_word(op) or ("read" if self.method in _READS else "write")
        self.timeout_ns = deadline_ns("timeout_s", timeout_s)
        self.connect_timeout_ns = (
            self.timeout_ns
            if connect_timeout_s is None
            else deadline_ns("connect_timeout_s", connect_timeout_s)
        )
        fitting(headers, data, check)
        switch("decode=", decode)
        switch("cookies=", cookies)
        if retry is not None and not isinstance(retry, Retry):
            raise TypeError(f"retry= takes a Retry, as Retry(attempts=2), not {shown(retry)}")
        if json is not None and data is not None:
            raise ValueError("a request has a json= body or a data= body, not both")
        self.expect = statuses(expect)
        self.check = check
        self.retry = retry
        self.redirects = whole("redirects=", redirects)
        self.decode = decode
        self.max_decoded_bytes = whole("max_decoded_bytes=", max_decoded_bytes)
        self.cookies = cookies
        self.looks_inside = decode or check is not None
        self.is_head = self.method == "HEAD"
        self.is_bare = False  # goes without credentials, whoever sends it
        self.body, content_type = body_of(json, data)
        self.is_plain = not self.is_head and not self.body
        self.extra = extra_headers(headers, self.body, content_type, self.method, decode)
        # Per pool: the request line and headers, ready to send. Per population: the code of its row
        # in the recorder.
        self.heads: dict[Way, bytes] = {}
        self.codes: dict[object, int] = {}

    def moved(self, path: str, method: str, *, keep_credentials: bool) -> Request:
        """The same request for another path, as a redirect makes it: a changed method loses the
        body. Raises ValueError for the path.
        """
        copy = Request(method, path)
        for slot in (
            "name",
            "op",
            "timeout_ns",
            "connect_timeout_ns",
            "expect",
            "check",
            "retry",
            "redirects",
            "decode",
            "max_decoded_bytes",
            "looks_inside",
            "cookies",
        ):
            setattr(copy, slot, getattr(self, slot))
        # Once dropped they stay dropped, should a later redirect lead back.
        copy.is_bare = self.is_bare or not keep_credentials
        copy.extra = self.extra
        if method == self.method:
            copy.body = self.body
        else:
            copy.extra = without(self.extra, OF_THE_BODY)
        copy.is_plain = not (copy.is_head or copy.is_bare or copy.body)
        return copy

    def head_for(self, pool: Way) -> bytes:
        """The request line and headers for a pool, without the session's headers and the final
        empty line.
        """
        head = (
            f"{self.method} {pool.prefix}{self.path} HTTP/1.1\r\n".encode("ascii")
            + pool.headers
            + self.extra
        )
        self.heads[pool] = head
        return head


@functools.lru_cache(maxsize=16_384)
def _cached(method: str, path: str, **options: Any) -> Request:
    return Request(method, path, **options)


def request(method: str, path: str, **options: Any) -> Request:
    """A request to yield from a flow.

    path: below the edge's base URL. name: what its samples are called (default: the path).
    timeout_s: the deadline of each attempt, from its start to the last byte. connect_timeout_s: a
    shorter one for the connection alone. headers, json, data: the usual. op: "read" or "write"
    (default by method). expect: the statuses that are right (default 200-399). check: called with
    the reply; False makes the outcome `wrong_body`. retry: a `Retry`. redirects: how many to
    follow, each its own sample (default 0). decode: ask for gzip or br and undo it in `reply.body`;
    a body that does not decode, or to more than `max_decoded_bytes` (default 32 MiB), is a
    `wrong_body`. cookies: False neither sends nor keeps any.
    Raises TypeError for an option of a wrong kind, ValueError for a path without '/', two bodies,
    or a header with a line break.
    """
    try:
        return _cached(method, path, **options)
    except TypeError:  # what cannot be hashed is not kept; what is wrong says so again
        pass
    try:
        return Request(method, path, **options)
    except TypeError:
        if not choices_in([path, options]):
            raise
        # Not a request yet: `steps` makes one of it for each row that is drawn.
        return cast("Request", Template(Request, method, path, options))


def get(path: str, **options: Any) -> Request:
    """`request("GET", ...)`."""
    return request("GET", path, **options)


post = functools.partial(request, "POST")
put = functools.partial(request, "PUT")
patch = functools.partial(request, "PATCH")
delete = functools.partial(request, "DELETE")
head = functools.partial(request, "HEAD")


class Reply:
    """How a request ended. `status` is 0 when no answer came; headers and body are parsed when
    first asked for. `error` says why a body is wrong, "" when it is not.
    """

    __slots__ = (
        "_message",
        "_raw",
        "_request",
        "done_ns",
        "error",
        "intended_ns",
        "labels",
        "outcome",
        "status",
    )

    def __init__(
        self,
        request: Request,
        outcome: Outcome,
        status: int,
        raw: bytes | list[bytes],
        intended_ns: int,
        done_ns: int,
    ) -> None:
        self._request = request
        self._raw = raw
        self._message: tuple[Headers, bytes] | None = None
        self.outcome = outcome
        self.error = ""
        self.status = status
        self.intended_ns = intended_ns
        self.done_ns = done_ns
        # What the answer's headers said of who served it, as codes of the worker's recorder.
        self.labels: list[int] | None = None

    @property
    def tried_again(self) -> bool:
        """Whether there may have been attempts before this one."""
        return self._request.retry is not None

    @property
    def ok(self) -> bool:
        return self.outcome is Outcome.OK

    @property
    def latency_ms(self) -> float:
        """From the intended start to the end, in ms."""
        return (self.done_ns - self.intended_ns) / 1e6

    @property
    def headers(self) -> Headers:
        """Response headers; repeated ones joined with ", ", one by one by `get_all`."""
        return self._parsed()[0]

    @property
    def body(self) -> bytes:
        return self._parsed()[1]

    def fits(self) -> bool:
        """Whether the body can be decoded and the request's check accepts it; else `error` says
        why not. Raises what only a check that is broken itself can raise, whatever the body.
        """
        request = self._request
        if request.decode:
            self._parsed()
        check: Any = request.check
        if not self.error and check is not None:
            try:
                found = check(self)
                if isinstance(found, Awaitable | Generator):
                    raise NotImplementedError("check= only began something: no async, no yield")
                if not found:
                    self.error = "its check said no"
            except _SLIPS:
                raise
            except Exception as error:  # a body the check cannot read is a wrong body
                self.error = f"its check raised {type(error).__name__}: {error}"[:300]
        return not self.error

    def again(
        self,
        request: Request,
        outcome: Outcome,
        status: int,
        raw: bytes | list[bytes],
        intended_ns: int,
        done_ns: int,
    ) -> Reply:
        """The same reply with this outcome, whatever a check did to the one it was shown."""
        reply = Reply(request, outcome, status, raw, intended_ns, done_ns)
        reply._message, reply.error = self._message, self.error
        return reply

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is not."""
        return json.loads(self.body)

    def _parsed(self) -> tuple[Headers, bytes]:
        if self._message is None:
            from stormgate.load.http.response import parse_message

            raw = self._raw if isinstance(self._raw, bytes) else b"".join(self._raw)
            request = self._request
            headers, body = parse_message(raw, is_head=request.is_head)
            if request.decode and body:
                try:
                    encodings = headers.get("content-encoding", "")
                    body = decoded(body, encodings, request.max_decoded_bytes)
                except ContentError as error:
                    self.error = str(error)
            self._message = headers, body
        return self._message
