"""A stream of arrivals: one Locust user's population, session and seed, as the engine sees it."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

from stormgate.load.engine.pool import Pool, Pools
from stormgate.load.flow import Request
from stormgate.load.http.cookies import Jar
from stormgate.load.http.head import dressed, header_block
from stormgate.load.record.operations import Operations
from stormgate.load.steps import Steps
from stormgate.model import Population

Flow = Generator[Any, Any, Any]


class Session(Operations):
    """What one user keeps between flows: headers sent with each request, seeded randomness, and
    whatever the flow stores on it; and what notes operations on data (`wrote`, `read`, ...).

    `random` is seeded from the run's seed, the user class and the stream, so data pickers repeat
    with the run.
    """

    def __init__(
        self, population: Population, stream: int, seed: int, *, cookies: bool = True
    ) -> None:
        """`cookies`: whether the session keeps and sends cookies, as a browser does."""
        self.population = population
        self.stream = stream
        self.random = random.Random(seed)  # noqa: S311 - data picking, not secrets
        self._headers: dict[str, str] = {}
        # Ends a request's head, so that sending is one concatenation.
        self.block = b"\r\n"
        self.cookies = Jar()
        self.keeps_cookies = cookies
        self.has_cookies = False  # so that who has none pays nothing

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self._headers)

    def set_header(self, name: str, value: str | None) -> None:
        """Send `name: value` with every later request of this session; None stops it. Raises
        ValueError for a line break.
        """
        headers = {key: text for key, text in self._headers.items() if key.lower() != name.lower()}
        if value is not None:
            headers[name] = value
        self.block = header_block(headers) + b"\r\n"
        self._headers = headers

    def keep_cookies(self, values: list[str], pool: Pool, request: Request) -> None:
        """What the Set-Cookie headers of an answer to `request` say."""
        self.cookies.keep(
            values,
            host=pool.cookie_host,
            path=pool.prefix + request.path.partition("?")[0],
            secure=pool.tls is not None,
            now_s=time.time(),
        )
        self.has_cookies = bool(self.cookies)

    def dress(self, head: bytes, pool: Pool, request: Request) -> bytes:
        """A request's head with this session's cookies and the pool's credentials."""
        cookies = ""
        if self.has_cookies and request.cookies:
            cookies = self.cookies.header(
                host=pool.cookie_host,
                path=pool.prefix + request.path.partition("?")[0],
                secure=pool.tls is not None,
                now_s=time.time(),
            )
        return dressed(head, bare=request.is_bare, basic=pool.basic, cookies=cookies)


_MOST_PER_S = 100_000.0


class Stream:
    """One Locust user as a stream of flows.

    `logged_in` is None until its login has ended, False while that has failed: such a stream sends
    nothing, unless `login_retry_s` says after how many seconds it tries again. Raises ValueError
    for a rate or a pause that is none.
    """

    __slots__ = (
        "alive",
        "begin",
        "key",
        "logged_in",
        "login",
        "login_retry_s",
        "name",
        "place",
        "poisson",
        "rate_per_s",
        "session",
    )

    def __init__(  # noqa: PLR0913 - one per property of a stream
        self,
        name: str,
        place: Pools,
        session: Session,
        *,
        key: int,
        rate_per_s: float,
        poisson: bool,
        begin: Callable[[Session], Flow],
        login: Callable[[Session], Flow] | None = None,
        login_retry_s: float | None = None,
    ) -> None:
        if not 0 < rate_per_s <= _MOST_PER_S:
            raise ValueError(
                f"rate_per_s of {name} is arrivals per second, above 0 and at most "
                f"{_MOST_PER_S:,.0f}, not {rate_per_s}"
            )
        if login_retry_s is not None and not 0.1 <= login_retry_s <= 86_400:
            raise ValueError(
                f"login_retry_s of {name} is seconds, from 0.1 to a day, not {login_retry_s}"
            )
        self.name = name
        self.place = place
        self.session = session
        self.key = key
        self.rate_per_s = rate_per_s
        self.poisson = poisson
        self.begin = begin
        self.login = login
        self.login_retry_s = login_retry_s
        self.logged_in: bool | None = None
        self.alive = True


def pick_flow(
    choices: list[Callable[[Any, Session], Flow]], user: Any, key: int = 0
) -> Callable[[Session], Flow]:
    """A flow picker over weighted task functions (Locust repeats a task by its weight), seeded by
    the session; or over declared steps, seeded by the stream's key.
    """
    declared = choices[0]
    if isinstance(declared, Steps):
        return declared.begin_for(key)
    if len(set(choices)) == 1:
        return functools.partial(choices[0], user)

    def begin(session: Session) -> Flow:
        return session.random.choice(choices)(user, session)

    return begin
