"""Which load engine runs: by `STORMGATE_ENGINE`, else by a gate's `load.engine`; and whether the
compiled core is here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ENGINE = "STORMGATE_ENGINE"
CORE, PYTHON = "core", "python"
_LIBRARY = Path(__file__).parents[1] / "load" / "engine" / "core" / "_core.abi3.so"


class EngineError(ValueError):
    """The load engine that is asked for cannot be had; the message says what to do."""


def has_core() -> bool:
    """Whether the compiled core was built. Nothing is imported."""
    return _LIBRARY.exists()


def chosen_engine(asked: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """`core` or `python`: what the environment says, else what a gate asks for, else `python`.
    Raises EngineError.
    """
    name = environ.get(ENGINE) or asked or PYTHON
    if name not in (CORE, PYTHON):
        raise EngineError(f"{ENGINE} is {name!r}; set it to {CORE!r} or {PYTHON!r}")
    if name == CORE and not has_core():
        raise EngineError(
            "the compiled core is asked for and was not built here: with a C compiler and Python's "
            "headers install stormgate again (in a checkout: rm -r .venv; make setup), or ask for "
            f"{PYTHON!r}"
        )
    return name


def engine_line(environ: Mapping[str, str] = os.environ) -> str:
    """What `--version` says of it."""
    try:
        name = chosen_engine(None, environ)
    except EngineError as error:
        name = f"none, {error}"
    return f"load engine: {name} (compiled core: {'built' if has_core() else 'not built'})"
