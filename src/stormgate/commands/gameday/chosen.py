"""What the commands of a game day act on, and the words in which people give a fault."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import BaseModel

    from stormgate.model import Target

TARGET = click.option(
    "--target",
    "target_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A target document, or a resolved one. [default: `stormgate use`, else a running lab]",
)
REPORTS = click.option(
    "--reports",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where run folders go. [default: reports/ of the suite]",
)
BY = click.option("--by", metavar="NAME", help="Who does it, for the records. [default: this user]")


def the_target(path: Path | None) -> Target:
    """The target to act on, with its addresses. Ends with exit code 2 when there is none."""
    from stormgate.documents import DocumentErrors
    from stormgate.faults.context import bare_target
    from stormgate.faults.errors import NoTarget
    from stormgate.faults.used import find_used

    try:
        if path is not None:
            from stormgate.commands.use import resolve

            return resolve(path, None)[0]
        if not os.environ.get("STORMGATE_TARGET") and find_used(Path.cwd()) is None:
            found = _running_lab()
            if found is not None:
                return found
        # What production wants is held by whoever breaks, with more rules than one variable.
        return bare_target({**os.environ, "STORMGATE_ALLOW_PRODUCTION": "1"})
    except (NoTarget, DocumentErrors, OSError) as error:
        raise click.ClickException(str(error)) from None


def _running_lab() -> Target | None:
    import json

    from stormgate.commands.lab import default_state
    from stormgate.lab.runtime.launch import running_pid
    from stormgate.model import Target, from_json

    state = default_state(os.environ).resolve()
    if running_pid(state) is None:
        return None
    return from_json(Target, json.loads((state / "topology.json").read_bytes()))


def reports_of(given: Path | None) -> Path:
    """Where the folders of runs by hand go."""
    from stormgate.documents.problems import suite_root

    return given if given is not None else suite_root(Path.cwd() / "suite") / "reports"


def person(given: str | None) -> str:
    """Who does it."""
    from stormgate.faults.hands.halt import who

    return given.strip() if given and given.strip() else who()


def parameters(words: Sequence[str], model: type[BaseModel] | None) -> dict[str, Any]:
    """The parameters of a mode from `--latency 150ms --jitter=20ms`. `model` is what the mode may
    be told; None, or one that takes anything: whatever is said. Raises click.UsageError.
    """
    fields = {} if model is None else model.model_fields
    loose = model is None or model.model_config.get("extra") == "allow"
    found: dict[str, Any] = {}
    for name, text in _pairs(words):
        key = name.replace("-", "_")
        field = next(
            (one for one in (key, f"{key}_ms", f"{key}_s", f"{key}_kb_per_s") if one in fields),
            None,
        )
        if field is None and not loose:
            takes = ", ".join(f"--{one.replace('_', '-')}" for one in fields) or "nothing"
            raise click.UsageError(f"no parameter --{name} (it takes {takes})")
        field, value = (field, _value(field, text)) if field is not None else _loose(key, text)
        found[field] = value
    return found


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--") or len(word) < 3:
            raise click.UsageError(f"{word!r} is neither a component nor a parameter")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not waiting:
                raise click.UsageError(f"--{name} needs a value")
            value = waiting.pop(0)
        pairs.append((name, value))
    return pairs


def _value(field: str, text: str) -> Any:
    from stormgate.documents.values import duration_ms, duration_s, fraction

    number = _number(text)
    try:
        if field.endswith("_ms"):
            return number if number is not None else duration_ms(text)
        if field.endswith("_s") and not field.endswith("_per_s"):
            return number if number is not None else duration_s(text)
        return fraction(text) if text.endswith("%") else (text if number is None else number)
    except ValueError as error:
        context: Mapping[str, Any] = getattr(error, "context", None) or {"what": error, "fix": ""}
        raise click.UsageError(f"--{field.replace('_', '-')}: {context['what']}") from None


def _loose(key: str, text: str) -> tuple[str, Any]:
    """For somebody's own commands: 150ms is `NAME_ms` 150, a number a number, the rest text."""
    from stormgate.documents.values import duration_ms

    if text.endswith("ms") and _number(text[:-2]) is not None:
        return f"{key}_ms", duration_ms(text)
    number = _number(text)
    return key, text if number is None else number


def _number(text: str) -> float | int | None:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def seconds(option: str, text: str) -> float:
    """A duration as it is written in documents, in seconds."""
    from stormgate.documents.values import duration_s

    try:
        return duration_s(text)
    except ValueError as error:
        told = (getattr(error, "context", None) or {}).get("what", error)
        raise click.UsageError(f"{option}: {told}") from None
