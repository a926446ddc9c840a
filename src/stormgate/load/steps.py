"""Declared flows: `steps = (get(...), think(1, 3), post(...))` instead of a generator.

What they do is known before they run: no code of a user's is called, and everything that could go
wrong over them is said when the file is read, at the step's own line.
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from stormgate.load.choice import DataFile, Template, drawn
from stormgate.load.flow import Between, Request, Think
from stormgate.load.options import shown

Declared = Request | Think | Template | Between
_FRACTION = 2.0**-53


class StepError(TypeError):
    """A step that cannot be declared; `file` and `line` are where it stands."""

    def __init__(self, message: str, file: str, line: int) -> None:
        super().__init__(f"{message} ({file}:{line})")
        self.message = message
        self.file = file
        self.line = line


class Steps:
    """The steps of one user class, as a task of Locust's: called with a user and a session it
    begins a flow, as a generator method does.
    """

    __name__ = "steps"

    def __init__(self, owner: str, steps: Any) -> None:
        """Raises StepError for what is no step, or needs Python while it runs."""
        here = _Where(owner)
        if not isinstance(steps, tuple | list):
            why = f"{owner}.steps is a tuple of requests and pauses, not {shown(steps)}"
            raise here.error(None, f"{why}: steps = (get('/'),) has its comma")
        self.steps: tuple[Declared, ...] = tuple(steps)
        self.sources: list[DataFile] = []
        for index, step in enumerate(self.steps):
            if problem := self._problem(step):
                raise here.error(index, f"{owner}.steps[{index}]: {problem}")
        if not any(isinstance(step, Request | Template) for step in self.steps):
            raise here.error(None, f"{owner}.steps asks for nothing: it has no request")
        self._is_fixed = all(isinstance(step, Request | Think) for step in self.steps)

    def _problem(self, step: object) -> str:
        """Why this cannot be a step, in words; "" where it can."""
        if isinstance(step, Template):
            try:
                step.check_rows()
            except ValueError as error:
                return str(error)
            self.sources += [one for one in step.sources if one not in self.sources]
            step = step.request(*(0 for _ in step.sources))
        if isinstance(step, Request):
            if step.check is None:
                return ""
            return (
                "check= calls Python for each answer, which a declared flow does not: judge by "
                "expect=(200,), or write `def flow(self, session)` instead of steps"
            )
        if isinstance(step, Think | Between):
            return ""
        return f"a step is get(...), post(...), ... or think(...), not {shown(step)}"

    def begin_for(self, key: int) -> Callable[[Any], Generator[Any, Any, Any]]:
        """What begins each flow of the stream of that key, arrival after arrival."""
        if self._is_fixed:
            return lambda _session: _through(self.steps)
        arrivals = itertools.count()
        return lambda _session: _through(self.drawn(key, next(arrivals)))

    def drawn(self, key: int, arrival: int) -> Iterator[Request | Think]:
        """The requests and pauses of a stream's arrival."""
        rows = {
            source: source.row(drawn(key, arrival, index))
            for index, source in enumerate(self.sources)
        }
        first = len(self.sources)
        for index, step in enumerate(self.steps):
            if isinstance(step, Template):
                yield step.request(*(rows[source] for source in step.sources))
            elif isinstance(step, Between):
                fraction = (drawn(key, arrival, first + index) >> 11) * _FRACTION
                yield Think(step.least_s + (step.most_s - step.least_s) * fraction)
            else:
                yield step


def _through(steps: Any) -> Generator[Any, Any, Any]:
    """A flow over steps, whatever the answers are."""
    for step in steps:  # noqa: UP028 - a tuple's iterator takes no reply
        yield step


class _Where:
    """Where the steps of a class that is being made stand in its file."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        frame = sys._getframe(1)
        while frame.f_back is not None and _is_ours(frame.f_code.co_filename):
            frame = frame.f_back
        self._file, self._line = frame.f_code.co_filename, frame.f_lineno

    def error(self, index: int | None, message: str) -> StepError:
        return StepError(message, self._file, self._line_of(index))

    def _line_of(self, index: int | None) -> int:
        """The line of a step, or of all; of the class where they are not written out there."""
        try:
            tree = ast.parse(Path(self._file).read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError):
            return self._line
        for node in ast.walk(tree):
            if not (isinstance(node, ast.ClassDef) and node.name == self._owner):
                continue
            for told in node.body:
                targets = told.targets if isinstance(told, ast.Assign) else []
                if isinstance(told, ast.AnnAssign):
                    targets = [told.target]
                if any(isinstance(one, ast.Name) and one.id == "steps" for one in targets):
                    return _line_in(told, index)
        return self._line


def _line_in(told: Any, index: int | None) -> int:
    elements = getattr(told.value, "elts", [])
    if index is None or any(isinstance(one, ast.Starred) for one in elements[: index + 1]):
        return int(told.lineno)
    return int(elements[index].lineno) if index < len(elements) else int(told.lineno)


_OURS = str(Path(__file__).resolve().parents[1])


def _is_ours(file: str) -> bool:
    """Whether a frame's file is of those that make a class: ours, or Locust's."""
    locust = getattr(sys.modules.get("locust"), "__file__", None)
    makers = (_OURS, str(Path(locust).parent)) if locust else (_OURS,)
    return any(file.startswith(f"{maker}/") for maker in makers)
