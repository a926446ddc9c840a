"""Waiting for what nobody can end, no longer than there is time."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_time(work: Callable[[], T], most_s: float) -> T:
    """What `work` returns, or raises. Raises TimeoutError after `most_s`; it may go on then, in a
    thread of its own that keeps no process from its end.
    """
    came: queue.SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def go() -> None:
        try:
            came.put((work(), None))
        except BaseException as error:
            came.put((None, error))

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(go,), name="in-time", daemon=True).start()
    try:
        found, error = came.get(timeout=max(most_s, 0.0))
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return found  # type: ignore[return-value]
