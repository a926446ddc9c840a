"""The users' code, called here and nowhere else: whatever it raises, returns or yields ends that
flow and no other, and is counted.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any

from stormgate.load.engine.attempt import FlowTask, nothing
from stormgate.load.engine.sandbox import Sandbox
from stormgate.load.engine.stream import Flow, Session, Stream
from stormgate.load.flow import Reply, Request, Think
from stormgate.load.options import shown
from stormgate.load.schedule.queue import NEVER
from stormgate.model import Outcome


def _generator(flow: Any, what: str) -> Flow:
    if not isinstance(flow, Generator):
        raise TypeError(
            f"{what} is a generator: it yields its requests (`yield from ()` makes one that has "
            f"none), and this one returned {shown(flow)}"
        )
    return flow


class Flows:
    """Flows in progress: begins them, sends them replies, does what they yield, and wakes them when
    they have paused.

    `prepare` takes what the user put into a request, and may raise; `submit` sends it.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        prepare: Callable[[FlowTask], None],
        submit: Callable[[FlowTask], None],
    ) -> None:
        self.stopping = False
        self.logins: deque[tuple[Stream, bool]] = deque()  # how logins ended; taken by the engine
        self._sandbox = sandbox
        self._prepare = prepare
        self._submit = submit
        self._paused: list[tuple[int, int, FlowTask]] = []
        self._order = itertools.count()

    # --- pauses

    @property
    def next_ns(self) -> int:
        """When the next pause is over; NEVER without one."""
        return self._paused[0][0] if self._paused else NEVER

    def log_in_at(self, at_ns: int, stream: Stream) -> None:
        """Begin a stream's login at a time; how it ends is told in `logins`."""
        task = FlowTask(nothing(), stream, at_ns)  # the login itself is made when its time comes
        task.is_login = True
        task.number = 0
        self._pause(at_ns, task)

    def _pause(self, at_ns: int, task: FlowTask) -> None:
        heapq.heappush(self._paused, (at_ns, next(self._order), task))

    def wake(self, now_ns: int, most: int) -> int:
        """Go on with flows whose pause is over, with no more than `most`: flows that only pause,
        for no time at all, would never let go. Returns how many.
        """
        woken = 0
        while self._paused and self._paused[0][0] <= now_ns and woken < most:
            at_ns, _, task = heapq.heappop(self._paused)
            woken += 1
            if task.is_login and task.number == 0:
                task.number = -1
                if task.stream.alive:
                    self._begin_login(task, at_ns)
            else:
                self.resume(task, None, at_ns)
        return woken

    def stop(self) -> None:
        """No flow goes on any more: those that pause are closed now, the others when their request
        ends.
        """
        self.stopping = True
        for _, _, task in self._paused:
            self.close(task)
        self._paused.clear()

    # --- flows

    def begin(self, stream: Stream, at_ns: int) -> None:
        """A user arrives: run a flow of the stream as far as its first request."""
        try:
            flow = stream.begin(stream.session)
            if type(flow) is not GeneratorType:
                flow = _generator(flow, "a flow")
            item = next(flow)
        except StopIteration:
            return
        except BaseException as error:
            self._sandbox.caught(stream.name, error)
            return
        self._follow(FlowTask(flow, stream, at_ns), item, at_ns)

    def _begin_login(self, task: FlowTask, at_ns: int) -> None:
        """Begin the login of a stream that has one."""
        stream = task.stream
        login: Callable[[Session], Any] | None = stream.login
        try:
            task.flow = _generator(login(stream.session) if login else None, "a login")
        except BaseException as error:
            self._failed(task, error)
            return
        self.resume(task, None, at_ns)

    def resume(self, task: FlowTask, reply: Reply | None, at_ns: int) -> None:
        """Send a flow its reply (None: the end of a pause) and do what it yields; what it asks for
        is intended for `at_ns`.
        """
        if self.stopping:
            if reply is not None and not self._sandbox.is_hung:
                self._last_word(task, reply)
            self.close(task)
            return
        if reply is not None and reply.outcome is not Outcome.OK:
            task.hurt = True
        try:
            item = task.flow.send(reply)
        except StopIteration:
            self._ended(task)
            return
        except BaseException as error:
            self._failed(task, error)
            return
        self._follow(task, item, at_ns)

    def _last_word(self, task: FlowTask, reply: Reply) -> None:
        """An answer that came while the load ends: what it said is still noted, and nothing more
        is asked.
        """
        task.hurt = task.hurt or reply.outcome is not Outcome.OK
        try:
            task.flow.send(reply)
        except StopIteration:
            return
        except BaseException as error:
            self._sandbox.caught(task.stream.name, error, hurt=task.hurt)

    def close(self, task: FlowTask) -> None:
        """End a flow that is to go no further. What it raises over that is no fault of its."""
        try:
            task.flow.close()
        except KeyboardInterrupt as error:
            self._sandbox.interrupt = error
        except BaseException:
            return

    def give_up(self, task: FlowTask, error: BaseException) -> None:
        """A flow goes no further over what its request was made of."""
        self._failed(task, error)
        self.close(task)

    def _follow(self, task: FlowTask, item: Any, at_ns: int) -> None:
        wrong = None
        while True:
            try:
                if type(item) is Request:
                    task.request = item
                    task.intended_ns = at_ns
                    self._prepare(task)
                    break
                if type(item) is Think:
                    wake_ns = at_ns + int(item.seconds * 1e9)
                    break
                if wrong is not None:  # told once what to yield, it does so again
                    raise wrong
                wrong = TypeError(
                    f"a flow yields requests (get, post, ...) or think(seconds), not {shown(item)}"
                )
                item = task.flow.throw(wrong)
            except StopIteration:
                self._swallowed(task, wrong)
                self._ended(task)
                return
            except BaseException as error:
                self.give_up(task, error)
                return
        if wrong is not None:
            self._swallowed(task, wrong)
        if type(item) is Request:
            self._submit(task)
        else:
            self._pause(wake_ns, task)

    def _swallowed(self, task: FlowTask, wrong: BaseException | None) -> None:
        """A flow went on over what it should not have yielded: nothing was asked there all the
        same.
        """
        if wrong is not None:
            self._sandbox.caught(task.stream.name, wrong, hurt=task.hurt)

    def _ended(self, task: FlowTask) -> None:
        if task.is_login:
            self.logins.append((task.stream, True))

    def _failed(self, task: FlowTask, error: BaseException) -> None:
        name = f"{task.stream.name}.login" if task.is_login else task.stream.name
        self._sandbox.caught(name, error, hurt=task.hurt)
        if task.is_login:
            self.logins.append((task.stream, False))
