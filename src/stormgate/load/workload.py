"""What a Locust file holds, read in a process of its own, since importing it runs it:

python -m stormgate.load.workload FILE SECONDS USERS [TAG ...]

prints one JSON object: `problem` (line and message) when it cannot be read, else its user classes,
how many users of each Locust makes, and what its LoadTestShape plans for so many seconds.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stormgate.load.steps import StepError

_STEP_S = 1.0  # how often Locust asks a shape


def main(arguments: Sequence[str]) -> None:
    """Print what was read on the standard output, and nothing else."""
    # What the file prints while it is imported goes to the standard error.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    file, seconds, users, *tags = arguments
    json.dump(read(Path(file), float(seconds), int(users), tags), out)
    out.flush()


def read(file: Path, seconds: float, users: int, tags: Sequence[str]) -> dict[str, Any]:
    """The object that `main` prints."""
    from locust.util.load_locustfile import load_locustfile

    from stormgate.load.locust.counts import counts
    from stormgate.load.locust.plugin import install

    install()
    try:
        classes, shapes = load_locustfile(str(file))
    except BaseException as error:
        return {"problem": _problem(file, error)}
    found: dict[str, Any] = {"classes": [_class(cls, tags) for cls in classes.values()]}
    if shapes:
        try:
            found["shape"] = {"name": type(shapes[0]).__name__, **schedule(shapes[0], seconds)}
        except Exception as error:
            found["shape"] = {"name": type(shapes[0]).__name__, "points": [], "why": repr(error)}
        peak = max((int(users_then) for _, users_then in found["shape"]["points"]), default=users)
        found["counts"] = counts(list(classes.values()), peak)
    else:
        found["counts"] = counts(list(classes.values()), users)
    return found


def _class(cls: Any, tags: Sequence[str]) -> dict[str, Any]:
    from locust.user.task import filter_tasks_by_tags

    tagged = sorted({tag for task in cls.tasks for tag in getattr(task, "locust_tag_set", ())})
    if tags:
        filter_tasks_by_tags(cls, set(tags))
    return {
        "name": cls.__name__,
        "stream": bool(getattr(cls, "is_stream", False)),
        "tasks": len(cls.tasks),
        "tags": tagged,
        "wanted": bool(cls.fixed_count or cls.weight),
        "weight": 0 if cls.fixed_count else cls.weight,
        "fixed": cls.fixed_count,
    }


def schedule(shape: Any, seconds: float) -> dict[str, Any]:
    """What a shape plans when it is asked once a second, as Locust does: `points` of (seconds,
    users), straight between them; `ends_s` when it ends itself, else null.

    Raises whatever the shape raises; one that looks at the run cannot be known before it.
    """
    at_s, now = 0.0, 0.0
    points: list[tuple[float, float]] = [(0.0, 0.0)]
    aim, rate = 0.0, 1.0
    last: Any = None
    shape.get_run_time = lambda: at_s
    while at_s <= seconds + _STEP_S:
        tick = shape.tick()
        if tick is None:
            points.append((at_s, now))
            return {"points": points, "ends_s": at_s}
        if tick != last:
            last, aim, rate = tick, float(tick[0]), max(float(tick[1]), 1e-9)
            points.append((at_s, now))
        step = min(abs(aim - now), rate * _STEP_S)
        reached_s = at_s + (step / rate)
        before, now = now, now + (step if aim > now else -step)
        if now != before:
            points.append((reached_s, now))
        at_s += _STEP_S
    points.append((at_s, now))
    return {"points": points, "ends_s": None}


def _problem(file: Path, error: BaseException) -> dict[str, Any]:
    """Where in the file (or in what it imports) it went wrong, and what."""
    if isinstance(error, SyntaxError) and error.filename:
        return {
            "file": error.filename,
            "line": error.lineno or 1,
            "message": f"not Python: {error.msg}",
        }
    if isinstance(error, StepError):
        return {"file": error.file, "line": error.line, "message": error.message}
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")
    ]
    mine = [f for f in frames if Path(f.filename).resolve() == file.resolve()]
    line = mine[-1].lineno if mine else 1
    where = f"{type(error).__name__}: {error}"
    if frames and mine and frames[-1] is not mine[-1]:
        where += f" ({frames[-1].filename}:{frames[-1].lineno})"
    return {"file": str(file), "line": line or 1, "message": where}


if __name__ == "__main__":
    main(sys.argv[1:])
