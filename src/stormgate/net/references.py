"""`${NAME}` in a target: a value only the environment knows. It stays a reference in every plan and
all evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from stormgate.model import Plan, Target, to_json
from stormgate.system import secrets

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def references(target: Target) -> set[str]:
    """The variables a target refers to."""
    return {name for text in _texts(to_json(target)) for name in REFERENCE.findall(text)}


def unset_references(target: Target, environment: Mapping[str, str]) -> list[str]:
    """The variables a target refers to that the environment does not have, or has empty, by
    name.
    """
    return sorted(name for name in references(target) if not environment.get(name))


def know_secrets(
    target: Target, environment: Mapping[str, str], *documents: Any, plan: Plan | None = None
) -> None:
    """All that came, or will come, out of the environment is from here on a secret of this process:
    what the target refers to, what a document takes by `{type: env, key: NAME}`, and what looks
    like one. Words that the target (or the plan) itself says in plain are none: they name regions,
    components and labels.
    """
    taken = {key for document in documents for key in _taken(document)}
    said = set(_texts(to_json(target if plan is None else plan)))
    kept = {name: value for name, value in environment.items() if value not in said}
    secrets.know_environment(kept, sorted(references(target) | taken))


def _taken(value: Any) -> Iterator[str]:
    """The variables that a Chaos Toolkit document takes from the environment, however deep."""
    if isinstance(value, Mapping):
        if value.get("type") == "env" and isinstance(value.get("key"), str):
            yield value["key"]
        for one in value.values():
            yield from _taken(one)
    elif isinstance(value, list):
        for one in value:
            yield from _taken(one)


def resolved(text: str, environment: Mapping[str, str]) -> str:
    """The text with its references filled in, for the one request that needs it. Raises KeyError
    for an unset variable.
    """
    return REFERENCE.sub(lambda match: environment[match[1]], text)


def with_secrets(target: Target, environment: Mapping[str, str]) -> Target:
    """The target as load needs it: headers and addresses filled in. Never to be written. Raises
    KeyError as `resolved`.
    """

    def fill(texts: Mapping[str, str]) -> dict[str, str]:
        return {name: resolved(text, environment) for name, text in texts.items()}

    populations = tuple(
        replace(p, links=fill(p.links), headers=fill(p.headers)) for p in target.populations
    )
    steering = target.steering
    if steering.url is not None:
        steering = replace(steering, url=resolved(steering.url, environment))
    return replace(target, populations=populations, steering=steering)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (key for key in value if isinstance(key, str))
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
