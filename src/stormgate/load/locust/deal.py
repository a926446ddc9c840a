"""Which positions of the deal a worker runs, by the word of the master: one that joins late takes
over what others give up, instead of dealing it a second time.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import gevent
from gevent.event import AsyncResult
from locust.runners import STATE_MISSING

from stormgate.load.locust.settings import SettingsError
from stormgate.load.schedule.positions import Positions
from stormgate.load.schedule.shares import Dealer

TAKE = "stormgate.take"
GIVE_BACK = "stormgate.give_back"
POSITION = "stormgate.position"
PATIENCE_S = 30.0
# When users move to another worker, those that lose some and the one that gains them are told at
# once: so long the gain waits for the loss, before it is taken for a growth.
HOLD_S = 2.0
_LOOK_S = 0.05


class Table:
    """The master's side: the one list of who holds what."""

    def __init__(self, environment: Any) -> None:
        self._runner = environment.runner
        self._positions = Positions()
        self._waiting: list[tuple[str, str, int, float]] = []
        self._runner.register_message(TAKE, self._on_take)
        self._runner.register_message(GIVE_BACK, self._on_give_back)
        environment.events.test_start.add_listener(self._on_start)

    def _on_start(self, **_: Any) -> None:
        self._positions = Positions()
        self._waiting.clear()

    def _on_take(self, msg: Any, **_: Any) -> None:
        self._forget_the_gone()
        idle = not self._waiting
        by = time.monotonic() + HOLD_S
        self._waiting.append((str(msg.data["class"]), msg.node_id, int(msg.data["ticket"]), by))
        self._serve()
        if idle and self._waiting:
            gevent.spawn(self._attend)

    def _attend(self) -> None:
        """Look again while anybody waits: users may have been asked for before they were told."""
        while self._waiting:
            gevent.sleep(_LOOK_S)
            self._forget_the_gone()
            self._serve()

    def _on_give_back(self, msg: Any, **_: Any) -> None:
        user_class = str(msg.data["class"])
        self._positions.give_back(user_class, msg.node_id, int(msg.data["position"]))
        self._serve()

    def _is_full(self, user_class: str) -> bool:
        """Whether as many positions are held as there are to be users: one to come is one that
        moves.
        """
        target = (self._runner.target_user_classes_count or {}).get(user_class)
        return target is not None and self._positions.held(user_class) >= target

    def _serve(self) -> None:
        now = time.monotonic()
        for wish in list(self._waiting):
            user_class, client, ticket, by = wish
            if self._is_full(user_class) and now < by:
                continue
            self._waiting.remove(wish)
            position = self._positions.take(user_class, client)
            answer = {"class": user_class, "ticket": ticket, "position": position}
            self._runner.send_message(POSITION, answer, client)

    def _forget_the_gone(self) -> None:
        clients = self._runner.clients
        for owner in self._positions.owners():
            if owner not in clients or clients[owner].state == STATE_MISSING:
                self._positions.lost(owner)


class Seats:
    """A worker's side: asks for a position and waits for it."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._tickets = itertools.count()
        self._asked: dict[int, AsyncResult] = {}
        runner.register_message(POSITION, self._on_position)

    def take(self, user_class: str) -> int:
        """A position that nobody else has. Raises SettingsError when the master says none."""
        ticket, answer = next(self._tickets), AsyncResult()
        self._asked[ticket] = answer
        self._runner.send_message(TAKE, {"class": user_class, "ticket": ticket})
        try:
            return int(answer.get(timeout=PATIENCE_S))
        except gevent.Timeout:
            raise SettingsError(
                f"the master did not say within {PATIENCE_S:g} s which stream of {user_class} this "
                "worker is to run; are both of the same version?"
            ) from None
        except BaseException:  # the user was stopped while it waited
            if answer.ready():
                self.give_back(user_class, answer.value)
            raise
        finally:
            self._asked.pop(ticket, None)

    def give_back(self, user_class: str, position: int) -> None:
        self._runner.send_message(GIVE_BACK, {"class": user_class, "position": position})

    def _on_position(self, msg: Any, **_: Any) -> None:
        asked = self._asked.get(int(msg.data["ticket"]))
        if asked is not None:
            asked.set(int(msg.data["position"]))
        else:  # nobody waits for it any more
            self.give_back(str(msg.data["class"]), int(msg.data["position"]))


class SharedDealer:
    """A `Dealer` whose positions are the master's to give."""

    def __init__(self, shares: Mapping[str, float], user_class: str, seats: Seats) -> None:
        """Raises ValueError when no population has a share above zero."""
        self._dealer = Dealer(shares)
        self._class = user_class
        self._seats = seats

    def take(self) -> tuple[int, str]:
        """A position and its population. Waits for the master's word."""
        position = self._seats.take(self._class)
        return position, self._dealer.population(position)

    def give_back(self, position: int) -> None:
        self._seats.give_back(self._class, position)
