"""The users' code, called here and nowhere else: whatever it raises, returns or yields ends that
flow and no other, and is counted.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any

from stormgate.load.engine.attempt import FlowTask
from stormgate.load.engine.stream import Flow, Session, Stream
from stormgate.load.flow import Reply, Request, Think
from stormgate.load.options import shown
from stormgate.load.record.counters import Counters
from stormgate.model import Outcome

OnFlowError = Callable[[str, str, bool], None]
_MOST_TEXT = 20_000
_MOST_PLACES = 1_000


def _generator(flow: Any, what: str) -> Flow:
    if not isinstance(flow, Generator):
        raise TypeError(
            f"{what} is a generator: it yields its requests (`yield from ()` makes one that has "
            f"none), and this one returned {shown(flow)}"
        )
    return flow


class Sandbox:
    """Counts what users' code raises, and what escapes everything: the engine's own failures; and
    tells each place of it once.

    `interrupt` is a KeyboardInterrupt that came while such code ran: the engine's caller's, not the
    flow's.
    """

    def __init__(
        self,
        counters: Counters,
        on_error: OnFlowError | None,
        on_engine_error: Callable[[str], None] | None = None,
    ) -> None:
        self.interrupt: KeyboardInterrupt | None = None
        self._counters = counters
        self._on_error = on_error
        self._on_engine_error = on_engine_error
        self._told: set[tuple[str, ...]] = set()

    def caught(self, name: str, error: BaseException, *, hurt: bool = False) -> None:
        """A user's code raised; `hurt`: over an answer that was not ok."""
        if isinstance(error, KeyboardInterrupt):
            self.interrupt = error
            return
        text = "".join(traceback.format_exception(error))
        place = "\n".join(line for line in text.splitlines() if line.startswith("  File "))
        if hurt:
            self._counters.flow_errors_over_failures += 1
        else:
            self._counters.flow_errors += 1
        key = (name, place, str(hurt))
        if key not in self._told and len(self._told) < _MOST_PLACES:
            self._told.add(key)
            try:
                if self._on_error is not None:
                    self._on_error(name, text[-_MOST_TEXT:], hurt)
            except Exception:  # nobody could be told: that is ours
                self._counters.engine_errors += 1

    def slipped(self, error: BaseException) -> None:
        """Something escaped everything: the engine's own failure."""
        if isinstance(error, KeyboardInterrupt):
            self.interrupt = error
            return
        self._counters.engine_errors += 1
        text = "".join(traceback.format_exception(error))[-_MOST_TEXT:]
        if (text,) not in self._told and len(self._told) < _MOST_PLACES:
            self._told.add((text,))
            with contextlib.suppress(Exception):  # nobody left to tell: the count stands
                if self._on_engine_error is not None:
                    self._on_engine_error(text)


class Flows:
    """Flows in progress: begins them, sends them replies and does what they yield.

    `prepare` takes what the user put into a request, and may raise; `submit` sends it; `wake_later`
    resumes a task at a time (ns); `on_login` is told how a stream's login ended.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        prepare: Callable[[FlowTask], None],
        submit: Callable[[FlowTask], None],
        wake_later: Callable[[int, FlowTask], None],
        on_login: Callable[[Stream, bool], None],
    ) -> None:
        self.stopping = False
        self._sandbox = sandbox
        self._prepare = prepare
        self._submit = submit
        self._wake_later = wake_later
        self._on_login = on_login

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

    def begin_login(self, task: FlowTask, at_ns: int) -> None:
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
            if reply is not None:
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
            self._wake_later(wake_ns, task)

    def _swallowed(self, task: FlowTask, wrong: BaseException | None) -> None:
        """A flow went on over what it should not have yielded: nothing was asked there all the
        same.
        """
        if wrong is not None:
            self._sandbox.caught(task.stream.name, wrong, hurt=task.hurt)

    def _ended(self, task: FlowTask) -> None:
        if task.is_login:
            self._on_login(task.stream, True)

    def _failed(self, task: FlowTask, error: BaseException) -> None:
        name = f"{task.stream.name}.login" if task.is_login else task.stream.name
        self._sandbox.caught(name, error, hurt=task.hurt)
        if task.is_login:
            self._on_login(task.stream, False)
