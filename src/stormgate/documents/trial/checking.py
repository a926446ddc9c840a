"""What a check of one experiment knows: the document, what the gate sets in it, what its `${name}`
stand for, and where a value was written.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stormgate.documents.components import Components
from stormgate.documents.holds import Stand
from stormgate.documents.problems import Problems, nearest
from stormgate.documents.yamlfile import Document, Loc

OURS = "stormgate.chaos."


@dataclass(slots=True)
class Touched:
    """What an experiment's actions select: the components by name, and whether something is known
    only at run time. `stand`: the shortest time that something broken stands, and where that is
    written (file, line). `asked`: the modes in which each component's own backend will be asked to
    break it, as far as that is known. `held`: each hold, s, and where it is written.
    `broken`: (what is selected by name, mode). `populations`: whose load is changed. `everyone`:
    places that select nobody knows whom.
    `strangers`: places of actions that are not ours, in an experiment that does not declare what
    they touch.
    """

    components: set[str] = field(default_factory=set)
    asked: dict[str, set[str]] = field(default_factory=dict)
    unresolved: list[str] = field(default_factory=list)
    stand: tuple[Stand, tuple[str, int]] | None = None
    held: list[tuple[float, tuple[str, int]]] = field(default_factory=list)
    populations: set[str] = field(default_factory=set)
    everyone: list[str] = field(default_factory=list)
    broken: set[tuple[str, str]] = field(default_factory=set)
    strangers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Given:
    """What the gate sets in an experiment's configuration, and where each value is written (file,
    line).
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Check:
    """One experiment under examination."""

    document: Document
    problems: Problems
    root: Path
    given: Given
    components: Components | None
    touched: Touched = field(default_factory=Touched)

    def note(self, message: str, fix: str, *loc: str | int) -> None:
        """Something wrong at a place of the experiment."""
        self.problems.add(self.document.file, self.document.line(*loc), message, fix)

    def note_value(self, message: str, fix: str, *loc: str | int) -> None:
        """Something wrong with a value: said where it was written."""
        self.problems.add(*self.written_at(loc), message, fix)

    @property
    def configuration(self) -> dict[str, Any]:
        """The experiment's own, as written."""
        own = self.document.data.get("configuration")
        return own if isinstance(own, dict) else {}

    @property
    def secrets(self) -> set[str]:
        """The names that `${name}` finds in its secrets: those of the second level."""
        own = self.document.data.get("secrets")
        groups = own.values() if isinstance(own, dict) else ()
        return {str(name) for group in groups if isinstance(group, dict) for name in group}

    @property
    def variables(self) -> dict[str, Any]:
        """The values of `${name}` known before the run; one read from the environment is not among
        them, unless the gate gives it.
        """
        known: dict[str, Any] = {}
        for key, value in self.configuration.items():
            if not isinstance(value, dict):
                known[key] = value
            elif "default" in value and "type" not in value:
                known[key] = value["default"]
        return {**known, **self.given.values}

    def resolve(self, value: Any, loc: Loc, *, ours: bool = True) -> Any:
        """A value with `${name}` filled in; None where that is known only at run time. A name that
        stands for nothing is noted: in calls of `ours` always, else where it looks like a slip,
        for Chaos Toolkit leaves what it does not know as it is.
        """
        if isinstance(value, list):
            return [self.resolve(one, (*loc, n), ours=ours) for n, one in enumerate(value)]
        if isinstance(value, dict):
            return {key: self.resolve(one, (*loc, key), ours=ours) for key, one in value.items()}
        if not isinstance(value, str):
            return value
        unknown = False
        for name in names_in(value):
            if name in self.variables:
                continue
            unknown = True
            if name not in self.configuration and name not in self.secrets:
                fix = nearest(name, self.configuration, what="it has")
                if ours or fix.startswith("did you mean"):
                    self.note(f"${{{name}}} is not in the experiment's configuration", fix, *loc)
        return None if unknown else filled(value, self.variables)

    def known(self, value: Any) -> Any:
        """A value with `${name}` filled in where all of them are known; else None."""
        if not isinstance(value, str):
            return value
        if any(name not in self.variables for name in names_in(value)):
            return None
        return filled(value, self.variables)

    def written_at(self, loc: Loc) -> tuple[str, int]:
        """Where a value comes from: the gate or the experiment's configuration, where it sets the
        variable that the value uses.
        """
        raw: Any = self.document.data
        for step in loc:
            try:
                raw = raw[step]
            except (KeyError, IndexError, TypeError):
                break
        for name in names_in(str(raw)):
            if name in self.given.places:
                return self.given.places[name]
            if name in self.configuration:
                return self.document.file, self.document.line("configuration", name)
        return self.document.file, self.document.line(*loc)


def names_in(text: str) -> Iterator[str]:
    """The variables a text refers to, as Chaos Toolkit reads it: `${x}`, `$x`, but not `$${x}`."""
    for match in string.Template.pattern.finditer(text):
        name = match.group("named") or match.group("braced")
        if name:
            yield name


def filled(text: str, variables: Mapping[str, Any]) -> Any:
    """The text with its variables filled in; a text that is one variable becomes its value."""
    match = string.Template.pattern.fullmatch(text)
    name = (match.group("named") or match.group("braced")) if match else None
    if name is not None and name in variables:
        return variables[name]
    return string.Template(text).safe_substitute(variables)
