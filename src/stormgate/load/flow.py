"""What a flow yields and what it is sent back: requests, think time and replies.

A flow is a generator: `reply = yield get("/threads", name="list threads")`. Requests are immutable,
so that the common ones are made once and cached.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stormgate.load.http.content import MOST_BYTES, ContentError, decoded
from stormgate.load.http.head import OF_THE_BODY, body_of, extra_headers, without
from stormgate.model import Outcome

if TYPE_CHECKING:
    from stormgate.load.engine.pool import Place, Pool
    from stormgate.load.http.response import Headers

DEFAULT_TIMEOUT_S = 10.0
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Retry:
    """An explicit retry policy: up to `attempts` attempts in all, again only after one of the
    outcomes `on`.

    Each attempt is a sample of its own. With `next_edge` an attempt after the first goes to the
    population's next-nearest edge. A `not_sent` request is never retried: that is the generator's
    own limit, not the target's answer.
    """

    attempts: int = 2
    on: frozenset[Outcome] = frozenset({Outcome.REFUSED, Outcome.RESET, Outcome.CONNECT_TIMEOUT})
    next_edge: bool = True


@dataclass(frozen=True, slots=True)
class Think:
    """A pause of the user; the next request's intended start is the end of the one before plus
    this.
    """

    seconds: float


def think(seconds: float) -> Think:
    """Yield this from a flow to pause it for `seconds` of user time. Raises TypeError or ValueError
    for what is no length of time: a pause backwards would backdate the next request.
    """
    _seconds("think", seconds)
    return Think(seconds)


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
        expect: tuple[int, ...] | None = None,
        check: Callable[[Reply], bool] | None = None,
        retry: Retry | None = None,
        redirects: int = 0,
        decode: bool = False,
        max_decoded_bytes: int = MOST_BYTES,
        cookies: bool = True,
    ) -> None:
        path = path.partition("#")[0] if isinstance(path, str) else path  # a fragment is not sent
        if not path.startswith("/") or not path.isascii() or any(c <= " " for c in path):
            raise ValueError(
                "a request's path begins with '/' and is percent-encoded (the host is the "
                f"edge's), not {path!r}"
            )
        _fitting(name, timeout_s, connect_timeout_s, headers, data, expect, check, retry, redirects)
        if type(max_decoded_bytes) is not int or max_decoded_bytes < 0:
            raise TypeError(f"max_decoded_bytes= takes a whole number, not {max_decoded_bytes!r}")
        if json is not None and data is not None:
            raise ValueError("a request has a json= body or a data= body, not both")
        self.method = method
        self.path = path
        self.name = name or path
        self.op = op or ("read" if method in _READS else "write")
        self.timeout_ns = int(timeout_s * _NS)
        self.connect_timeout_ns = (
            self.timeout_ns if connect_timeout_s is None else int(connect_timeout_s * _NS)
        )
        self.expect = expect
        self.check = check
        self.retry = retry
        self.redirects = redirects
        self.decode = decode
        self.max_decoded_bytes = max_decoded_bytes
        self.cookies = cookies
        self.looks_inside = decode or check is not None
        self.is_head = method == "HEAD"
        self.is_bare = False  # goes without credentials, whoever sends it
        self.body, content_type = body_of(json, data)
        self.is_plain = not self.is_head and not self.body
        self.extra = extra_headers(headers, self.body, content_type, method, decode)
        # Per pool: the request line and headers, ready to send. Per population: the code of its row
        # in the recorder.
        self.heads: dict[Pool, bytes] = {}
        self.codes: dict[Place, int] = {}

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

    def head_for(self, pool: Pool) -> bytes:
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


def _seconds(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} takes seconds as a number, not {value!r}")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{what} takes seconds from 0 up, not {value!r}")


def _fitting(  # noqa: PLR0913, PLR0917 - one per option of a request
    name: Any,
    timeout_s: Any,
    connect_timeout_s: Any,
    headers: Any,
    data: Any,
    expect: Any,
    check: Any,
    retry: Any,
    redirects: Any,
) -> None:
    """Each option is of its kind, or TypeError says what to write, in the flow that wrote it: found
    later, in the engine, it would stop everybody's requests.
    """
    _seconds("timeout_s", timeout_s)
    if connect_timeout_s is not None:
        _seconds("connect_timeout_s", connect_timeout_s)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name= takes a string, not {name!r}")
    if data is not None and not isinstance(data, bytes | str):
        raise TypeError(f"data= takes bytes or a string, not {type(data).__name__}; json= encodes")
    if headers is not None and not (
        isinstance(headers, Mapping)
        and all(isinstance(k, str) and isinstance(v, str) for k, v in headers.items())
    ):
        raise TypeError(f"headers= takes a mapping of strings to strings, not {headers!r}")
    if expect is not None and not (
        isinstance(expect, tuple | list | set | frozenset | range)
        and all(type(status) is int for status in expect)
    ):
        raise TypeError(f"expect= takes a tuple of statuses, as (200,), not {expect!r}")
    if check is not None and not callable(check):
        raise TypeError(f"check= takes a function of the reply, not {check!r}")
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry= takes a Retry, as Retry(attempts=2), not {retry!r}")
    if type(redirects) is not int or redirects < 0:
        raise TypeError(f"redirects= takes how many to follow, a whole number, not {redirects!r}")


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
    Raises ValueError for a path without '/', two bodies, or a header with a line break.
    """
    try:
        return _cached(method, path, **options)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return Request(method, path, **options)


def get(path: str, **options: Any) -> Request:
    """`request("GET", ...)`."""
    try:
        return _cached("GET", path, **options)
    except TypeError:
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
        why not.
        """
        request = self._request
        if request.decode:
            self._parsed()
        if not self.error and request.check is not None:
            try:
                if not request.check(self):
                    self.error = "its check said no"
            except Exception as error:  # a body the check cannot read is a wrong body
                self.error = f"its check raised {type(error).__name__}: {error}"[:300]
        return not self.error

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
