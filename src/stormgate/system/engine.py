"""Which load engine runs: decided by `STORMGATE_ENGINE`, and whether the compiled core is here."""

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


def chosen_engine(environ: Mapping[str, str] = os.environ) -> str:
    """`core` or `python`, which is what runs unless somebody asks for the other. Raises
    EngineError.
    """
    name = environ.get(ENGINE) or PYTHON
    if name not in (CORE, PYTHON):
        raise EngineError(f"{ENGINE} is {name!r}; set it to {CORE!r} or {PYTHON!r}")
    if name == CORE and not has_core():
        raise EngineError(
            f"{ENGINE} asks for the compiled core, which was not built here: with a C compiler and "
            f"Python's headers install stormgate again (in a checkout: rm -r .venv; make setup), "
            f"or unset {ENGINE}"
        )
    return name


def engine_line(environ: Mapping[str, str] = os.environ) -> str:
    """What `--version` says of it."""
    try:
        name = chosen_engine(environ)
    except EngineError as error:
        name = f"none, {error}"
    return f"load engine: {name} (compiled core: {'built' if has_core() else 'not built'})"
