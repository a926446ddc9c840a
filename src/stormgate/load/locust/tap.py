"""Where the requests of plain Locust users are seen: around the sending of Locust's own clients,
and in front of every listener of its `request` event.

A listener of the user's own that raises ends Locust's round through the listeners, so whoever comes
later never hears of that request. Here a request is known from when it is begun, and told as soon
as Locust says how it went.
"""

from __future__ import annotations

import functools
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent import GreenletExit, getcurrent
from gevent.event import Event
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.exception import StopTest, StopUser
from locust.user.users import User

_POLL_S = 0.01


class Ticket:
    """A request that one of Locust's clients has begun. `told`: Locust said how it went; `ended`:
    the client is done with it, although a with-block may not be.
    """

    __slots__ = (
        "__weakref__",
        "began_ns",
        "ended",
        "greenlet",
        "method",
        "name",
        "told",
        "url",
        "user",
    )

    def __init__(self, method: str, name: str, url: str, user: Any) -> None:
        self.method = method
        self.name = name
        self.url = url
        self.user = user
        self.greenlet = getcurrent()
        self.told = False
        self.ended = False
        self.began_ns = time.monotonic_ns()


class Told(Protocol):
    """Who hears of requests."""

    def place(self, user: Any) -> None:
        """A user of Locust's is being made."""

    def dress(self, session: Any) -> None:
        """A client's session is about to send a request."""

    def on_told(self, ticket: Ticket | None, meta: dict[str, Any]) -> None:
        """Locust's `request` event, before anybody else; the ticket if one of its own clients
        asked.
        """

    def on_broken(self, ticket: Ticket, error: BaseException) -> None:
        """What a client raised instead of reporting its request."""

    def on_dropped(self, ticket: Ticket) -> None:
        """An answer was thrown away before anybody said how its request went."""


class Tap:
    """Follows the requests of one environment until `close`."""

    def __init__(self, environment: Any, to: Told) -> None:
        _wrap_clients()
        self._hook = environment.events.request
        self._to = to
        self._sending: dict[Any, Ticket] = {}  # by greenlet
        self._waiting: dict[int, Ticket] = {}  # by the id of the answer a with-block looks at
        self._parking: Event | None = None
        handlers = self._hook._handlers
        handlers.insert(0, self._on_request)
        # Locust's own count comes next: it is held against ours, and must not be cut off either.
        handlers.sort(key=_rank)
        _taps[self._hook] = self

    def close(self) -> None:
        if _taps.pop(self._hook, None) is not None:
            self._hook.remove_listener(self._on_request)

    @property
    def in_flight(self) -> list[Ticket]:
        """Requests that their clients are still waiting for."""
        return [ticket for ticket in self._sending.values() if not ticket.told]

    @property
    def undecided(self) -> list[Ticket]:
        """Answered requests of which nobody has said yet how they went."""
        return list(self._waiting.values())

    def forget(self, ticket: Ticket) -> None:
        """Nobody will say how this request went."""
        ticket.told = True
        self._waiting = {k: kept for k, kept in self._waiting.items() if kept is not ticket}

    def settle(self, grace_s: float) -> None:
        """From now on no user begins a new request; give those under way `grace_s` seconds."""
        self._parking = Event()
        deadline = time.monotonic() + grace_s
        while self.in_flight and time.monotonic() < deadline:
            gevent.sleep(_POLL_S)

    def _park(self, user: Any) -> None:
        """Hold a user until Locust ends it. What it asks for while it is being ended (on_stop)
        goes through, as does what is nobody's (cleaning up when the test stops).
        """
        being_ended = isinstance(sys.exception(), GreenletExit | StopUser | StopTest)
        its_own = user is not None and user.greenlet is getcurrent()
        if self._parking is not None and its_own and not being_ended:
            self._parking.wait()

    def place(self, user: Any) -> None:
        self._to.place(user)

    def send(self, session: Any, asked: tuple[str, str, str], send: Callable[[], Any]) -> Any:
        """Send a request (its method, name and URL) by `send`, and see that it is told."""
        self._park(session.user)
        self._to.dress(session)
        ticket = Ticket(*asked, session.user)
        greenlet = ticket.greenlet
        outer = self._sending.get(greenlet)
        self._sending[greenlet] = ticket
        try:
            answer = send()
        except BaseException as error:
            if not ticket.told:  # else a listener raised, which is how some leave a task
                ticket.told = True
                self._to.on_broken(ticket, error)
            raise
        finally:
            ticket.ended = True
            if outer is None:
                del self._sending[greenlet]
            else:
                self._sending[greenlet] = outer
        if not ticket.told:
            self._await_word(ticket, answer)
        return answer

    def _await_word(self, ticket: Ticket, answer: Any) -> None:
        """The request is told by a with-block that looks at the answer; or never, when the block
        raises or there is none.
        """
        key = id(getattr(answer, "request_meta", {}).get("response", answer))
        self._waiting[key] = ticket
        weakref.finalize(answer, self._drop, key, ticket).atexit = False

    def _drop(self, key: int, ticket: Ticket) -> None:
        if self._waiting.get(key) is ticket:
            del self._waiting[key]
        if not ticket.told:
            ticket.told = True
            self._to.on_dropped(ticket)

    def _on_request(self, **meta: Any) -> None:
        ticket = self._waiting.pop(id(meta.get("response")), None)
        if ticket is None or ticket.told:
            ticket = self._sending.get(getcurrent())
        if ticket is not None:
            if ticket.told:
                ticket = None
            else:
                ticket.told = True
        self._to.on_told(ticket, meta)


_taps: weakref.WeakKeyDictionary[Any, Tap] = weakref.WeakKeyDictionary()


def _rank(handler: Callable[..., Any]) -> int:
    if isinstance(getattr(handler, "__self__", None), Tap):
        return 0
    return 1 if str(getattr(handler, "__module__", "")).startswith("locust.runners") else 2


@functools.cache
def _wrap_clients() -> None:
    """Make Locust's two clients and its users ask for a tap, once in a process."""
    for session in (HttpSession, FastHttpSession):
        session.request = _watched(session.request)
    make = User.__init__

    @functools.wraps(make)
    def made(self: Any, environment: Any, *args: Any, **kwargs: Any) -> None:
        make(self, environment, *args, **kwargs)
        tap = _taps.get(environment.events.request)
        if tap is not None:
            tap.place(self)

    User.__init__ = made


def _watched(request: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(request)
    def watched(self: Any, method: Any, url: Any, name: Any = None, *args: Any, **kw: Any) -> Any:
        tap = _taps.get(self.request_event)
        send = functools.partial(request, self, method, url, name, *args, **kw)
        if tap is None:
            return send()
        where = _text(url)
        if "://" not in where:
            where = f"{_text(getattr(self, 'base_url', None) or '')}{where}"
        asked = _text(method), _text(name or self.request_name or url), where
        return tap.send(self, asked, send)

    return watched


def _text(word: Any) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)


_users: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def user_of(greenlet: Any) -> Any:
    """The Locust user whose greenlet this is, or None. Kept: gevent forgets what a greenlet was
    started with as soon as it is to end.
    """
    first = next(iter(getattr(greenlet, "args", None) or ()), None)
    if isinstance(first, User):
        _users[greenlet] = weakref.ref(first)
    known = _users.get(greenlet)
    return known() if known is not None else None
