"""The options of a request, held to their kinds where a flow writes them: what is found later, in
the engine, would stop everybody's requests, and a slip of the user would be laid at the target's
door.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any

from stormgate.model import Outcome

_NS = 1_000_000_000
_LONGEST_S = 1e8  # three years: longer is a slip, and what is added to a clock must stay a time
_SHORTEST_S = 0.001
MOST_ATTEMPTS = 255  # what the column of a sample holds


def shown(value: Any) -> str:
    """A value as a message quotes it: short, and whatever its own repr does."""
    try:
        text = repr(value)
    except Exception:  # a user's own repr may do anything
        return f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."


def seconds(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} takes seconds as a number, not {shown(value)}")
    if not (math.isfinite(value) and 0 <= value <= _LONGEST_S):
        raise ValueError(f"{what} takes seconds from 0 to {_LONGEST_S:g}, not {shown(value)}")
    return float(value)


def deadline_ns(what: str, value: Any) -> int:
    length = seconds(what, value)
    if length < _SHORTEST_S:
        raise ValueError(f"{what} takes {_SHORTEST_S:g} s or more, not {shown(value)}")
    return int(length * _NS)


def whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{what} takes a whole number from 0 up, not {shown(value)}")
    return int(value)


def outcomes(value: Any) -> frozenset[Outcome]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"Retry(on=) takes outcomes as {{Outcome.RESET}}, not {shown(value)}")
    words = list(value)
    try:
        return frozenset(map(Outcome, words))
    except ValueError:
        raise ValueError(
            f"Retry(on=) takes outcomes ({', '.join(Outcome)}), not {shown(words)}"
        ) from None


def method_word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a request's method is a string, as 'GET', not {shown(value)}")
    if not (value.isascii() and value.isalpha()):
        raise ValueError(f"a request's method is a word, as 'GET', not {shown(value)}")
    return value.upper()


def path_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a request's path is a string, as '/threads', not {shown(value)}")
    path = value.partition("#")[0]  # a fragment is not sent
    if not path.startswith("/") or not path.isascii() or any(c <= " " for c in path):
        raise ValueError(
            "a request's path begins with '/' and is percent-encoded (the host is the "
            f"edge's), not {shown(value)}"
        )
    return path


def name_text(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"name= takes a string, not {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"name= takes text that can be written, not {shown(value)}") from None
    return value


def op_word(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value in ("read", "write")):
        return value
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(f"op= takes 'read' or 'write', not {shown(value)}")


def statuses(expect: Any) -> tuple[int, ...] | None:
    if expect is None:
        return None
    if not (
        isinstance(expect, tuple | list | set | frozenset | range)
        and len(expect) <= 900
        and all(isinstance(status, int) and not isinstance(status, bool) for status in expect)
    ):
        raise TypeError(f"expect= takes a tuple of statuses, as (200,), not {shown(expect)}")
    if not expect or min(expect) < 100 or max(expect) > 999:
        raise ValueError(f"expect= takes statuses from 100 to 999, not {shown(expect)}")
    return tuple(map(int, expect))


def switch(what: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{what} takes True or False, not {shown(value)}")


def fitting(headers: Any, data: Any, check: Any) -> None:
    """Each option is of its kind, or TypeError says what to write, in the flow that wrote it: found
    later, in the engine, it would stop everybody's requests.
    """
    if data is not None and not isinstance(data, bytes | str):
        raise TypeError(f"data= takes bytes or a string, not {type(data).__name__}; json= encodes")
    if headers is not None and not isinstance(headers, Mapping):
        raise TypeError(f"headers= takes a mapping of strings to strings, not {shown(headers)}")
    if headers is not None:
        for name, value in headers.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"headers= takes strings for strings, not {shown({name: value})}")
    if check is not None:
        _judging(check)


_MANY = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def _judging(check: Any) -> None:
    """A check is a plain function of one reply: one that only begins something when it is called
    would find every answer right, one that cannot be called so would find none.
    """
    if not callable(check):
        raise TypeError(f"check= takes a function of the reply, not {shown(check)}")
    function = getattr(check, "__func__", check)
    if not isinstance(function, FunctionType):
        return
    code, own = function.__code__, int(function is not check)
    if code.co_flags & _LATER:
        raise TypeError("check= takes a plain function: no async, no yield")
    if not code.co_flags & _MANY and not code.co_kwonlyargcount:
        most = code.co_argcount - own
        if not most - len(function.__defaults__ or ()) <= 1 <= most:
            raise TypeError(
                f"check= takes a function of the reply alone, and {function.__qualname__} takes "
                f"{most} arguments"
            )
