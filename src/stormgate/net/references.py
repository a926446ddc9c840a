"""`${NAME}` in a target: a value only the environment knows. It stays a reference in every plan and
all evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from stormgate.model import Target, to_json

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def unset_references(target: Target, environment: Mapping[str, str]) -> list[str]:
    """The variables a target refers to that the environment does not have, or has empty, by
    name.
    """
    named = {name for text in _texts(to_json(target)) for name in REFERENCE.findall(text)}
    return sorted(name for name in named if not environment.get(name))


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
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
