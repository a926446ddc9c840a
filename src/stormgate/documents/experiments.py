"""Chaos Toolkit experiments, checked before anything is started: they fail green, so what can be
known is known beforehand.

Format: https://chaostoolkit.org/reference/api/experiment/ (1.0.0), YAML or JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stormgate import model
from stormgate.documents.components import CHOOSING, Components
from stormgate.documents.holds import ACTIONS, Stand, stands
from stormgate.documents.problems import Problems, nearest
from stormgate.documents.signatures import module as module_of
from stormgate.documents.signatures import signature as signature_of
from stormgate.documents.yamlfile import Document, Loc, read_documents

KEYS = [
    "version",
    "title",
    "description",
    "tags",
    "configuration",
    "secrets",
    "contributions",
    "controls",
    "steady-state-hypothesis",
    "method",
    "rollbacks",
    "runtime",
    "extensions",
    "dry",
]
ACTIVITY_KEYS = [
    "type",
    "name",
    "provider",
    "pauses",
    "background",
    "controls",
    "tolerance",
    "ref",
    "secrets",
    "configuration",
]
PROVIDER_KEYS = {
    "python": ["type", "module", "func", "arguments", "secrets"],
    "process": ["type", "path", "arguments", "timeout", "env", "secrets"],
    "http": [
        "type",
        "url",
        "method",
        "headers",
        "expected_status",
        "arguments",
        "timeout",
        "max_retries",
        "verify_tls",
        "secrets",
    ],
}
OURS = "stormgate.chaos."
VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(slots=True)
class Touched:
    """What an experiment's actions select: the components by name, and whether something is known
    only at run time. `stand`: the shortest time that something broken stands, and where that is
    written (file, line).
    """

    components: set[str] = field(default_factory=set)
    unresolved: list[str] = field(default_factory=list)
    stand: tuple[Stand, tuple[str, int]] | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What the gate sets in an experiment's configuration, and where each value is written (file,
    line).
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Check:
    document: Document
    problems: Problems
    root: Path
    variables: dict[str, Any]
    given: Given
    components: Components | None
    touched: Touched

    def note(self, message: str, fix: str, *loc: str | int) -> None:
        self.problems.add(self.document.file, self.document.line(*loc), message, fix)


def check_experiment(
    path: Path, given: Given, root: Path, target: model.Target | None, problems: Problems
) -> Touched:
    """What the experiment selects, with everything wrong with it noted. What is `given` overrides
    its own configuration.
    """
    documents = read_documents(path, problems)
    if not documents:
        return Touched()
    document = documents[0]
    data = document.data
    if not isinstance(data, dict):
        problems.add(
            document.file,
            document.line(),
            "not an experiment",
            "write title, description, method and rollbacks",
        )
        return Touched()
    variables, touched = _variables(data, given.values), Touched()
    check = _Check(
        document, problems, root, variables, given, Components(target) if target else None, touched
    )
    _check_head(data, check)
    for loc, activity in _activities(data):
        _check_activity(activity, loc, check)
    found = stands(_list(data.get("method")), lambda value, loc: _known(value, check))
    shortest = min(found, key=lambda one: one.seconds, default=None)
    if shortest is not None:
        held = len(shortest.loc) > 1  # else no `hold` follows it at all
        place = (document.file, document.line("method"))
        touched.stand = shortest, _written_at(shortest.loc, check) if held else place
    return touched


def _check_head(data: dict[str, Any], check: _Check) -> None:
    for key in data:
        if key not in KEYS:
            check.note(f"unknown key {key!r} in the experiment", nearest(key, KEYS), key)
    for key in ("title", "description"):
        if not isinstance(data.get(key), str) or not data[key].strip():
            check.note(f"the experiment has no {key}", f"add a {key}", key)
    method = data.get("method")
    if not isinstance(method, list) or not method:
        check.note(
            "the experiment's method is empty: nothing would be broken",
            "add an action to method",
            "method",
        )
    elif not any(isinstance(one, dict) and one.get("type") == "action" for one in method):
        check.note(
            "the experiment's method has no action: nothing would be broken",
            "add an action to method",
            "method",
        )
    if not isinstance(data.get("rollbacks"), list) or not data["rollbacks"]:
        check.note(
            "the experiment has no rollbacks: its faults would stay",
            "add the undo of each action to rollbacks",
            "rollbacks",
        )
    own = data.get("configuration")
    declared = list(own) if isinstance(own, dict) else []
    for key in check.given.values:
        if key not in declared:
            fix = (
                nearest(key, declared, what="it has")
                if declared
                else "declare it under the experiment's configuration"
            )
            place = check.given.places.get(
                key, (check.document.file, check.document.line("configuration"))
            )
            check.problems.add(
                *place, f"the configuration of {check.document.file} has no {key!r}", fix
            )


def _variables(data: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `${name}` known before the run; one read from the environment is not among
    them.
    """
    own = data.get("configuration")
    known: dict[str, Any] = {}
    for key, value in (own if isinstance(own, dict) else {}).items():
        if not isinstance(value, dict):
            known[key] = value
        elif "default" in value and "type" not in value:
            known[key] = value["default"]
    return {**known, **configuration}


def _activities(data: Mapping[str, Any]) -> Iterator[tuple[Loc, Any]]:
    hypothesis = data.get("steady-state-hypothesis")
    if isinstance(hypothesis, dict):
        for index, probe in enumerate(_list(hypothesis.get("probes"))):
            yield ("steady-state-hypothesis", "probes", index), probe
    for key in ("method", "rollbacks"):
        for index, activity in enumerate(_list(data.get(key))):
            yield (key, index), activity


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _check_activity(activity: Any, loc: Loc, check: _Check) -> None:
    if not isinstance(activity, dict):
        check.note("an activity is not a mapping", "write type, name and provider", *loc)
        return
    for key in activity:
        if key not in ACTIVITY_KEYS:
            check.note(
                f"unknown key {key!r} in an activity", nearest(key, ACTIVITY_KEYS), *loc, key
            )
    if "ref" in activity:
        return
    if activity.get("type") not in ("action", "probe"):
        check.note(
            f"an activity of type {activity.get('type')!r}", "type is action or probe", *loc, "type"
        )
    if loc[0] == "steady-state-hypothesis" and "tolerance" not in activity:
        check.note(
            "a hypothesis probe without tolerance decides nothing", "add its tolerance", *loc
        )
    provider = activity.get("provider")
    if not isinstance(provider, dict):
        check.note(
            "an activity without provider", "add provider: {type: python, module: …, func: …}", *loc
        )
        return
    kind = str(provider.get("type"))
    if kind not in PROVIDER_KEYS:
        check.note(
            f"unknown provider type {kind!r}",
            nearest(kind, PROVIDER_KEYS),
            *loc,
            "provider",
            "type",
        )
        return
    for key in provider:
        if key not in PROVIDER_KEYS[kind]:
            check.note(
                f"unknown key {key!r} in a provider",
                nearest(key, PROVIDER_KEYS[kind]),
                *loc,
                "provider",
                key,
            )
    if kind == "python":
        _check_python(provider, (*loc, "provider"), check)


def _check_python(provider: Mapping[str, Any], loc: Loc, check: _Check) -> None:
    module, func = str(provider.get("module", "")), str(provider.get("func", ""))
    known = module_of(module, check.root)
    if known is None:
        # Drivers such as chaosk8s are extras that may be installed only where the gate runs; ours
        # and the suite's must be there.
        if module.startswith(OURS) or (check.root / module.split(".", maxsplit=1)[0]).is_dir():
            check.note(f"there is no module {module!r}", "check its name", *loc, "module")
        return
    signature = signature_of(func, known, check.root)
    if signature is None:
        check.note(
            f"module {module} has no function {func!r}",
            nearest(func, known.names, what="it has"),
            *loc,
            "func",
        )
        return
    arguments = provider.get("arguments")
    given = arguments if isinstance(arguments, dict) else {}
    for key in given:
        if key not in signature.arguments and not signature.open_ended:
            check.note(
                f"{func} takes no argument {key!r}",
                nearest(key, signature.arguments, what="it takes"),
                *loc,
                "arguments",
                key,
            )
    for key in signature.required:
        if key not in given:
            check.note(
                f"{func} needs argument {key!r}", f"add arguments: {{{key}: …}}", *loc, "arguments"
            )
    if module == ACTIONS and func == "hold" and "seconds" in given:
        _check_hold(given["seconds"], (*loc, "arguments", "seconds"), check)
    resolved = {
        key: _resolve(value, check, (*loc, "arguments", key)) for key, value in given.items()
    }
    if module == ACTIONS and loc[0] == "method":
        _check_selection(func, resolved, loc, check)


def _check_hold(value: Any, loc: Loc, check: _Check) -> None:
    known = _known(value, check)
    try:
        fine = known is None or (not isinstance(known, bool) and 0 <= float(known) < math.inf)
    except (TypeError, ValueError):
        fine = False
    if not fine:
        check.problems.add(
            *_written_at(loc, check), f"hold for {known!r}", "write a number of seconds from 0 up"
        )


def _resolve(value: Any, check: _Check, loc: Loc) -> Any:
    """A value with `${name}` filled in; None where that is known only at run time."""
    if isinstance(value, list):
        return [_resolve(one, check, (*loc, index)) for index, one in enumerate(value)]
    if isinstance(value, dict):
        return {key: _resolve(one, check, (*loc, key)) for key, one in value.items()}
    if not isinstance(value, str):
        return value
    names = VARIABLE.findall(value)
    own = check.document.data.get("configuration")
    for name in names:
        if name not in check.variables:
            if not isinstance(own, dict) or name not in own:
                fix = nearest(name, own if isinstance(own, dict) else [], what="it has")
                check.note(f"${{{name}}} is not in the experiment's configuration", fix, *loc)
            return None
    if names and value == f"${{{names[0]}}}":
        return check.variables[names[0]]
    return VARIABLE.sub(lambda match: str(check.variables[match[1]]), value)


def _known(value: Any, check: _Check) -> Any:
    """A value with `${name}` filled in where all of them are known; else None."""
    if not isinstance(value, str):
        return value
    names = VARIABLE.findall(value)
    if any(name not in check.variables for name in names):
        return None
    return VARIABLE.sub(lambda match: str(check.variables[match[1]]), value)


def _check_selection(func: str, arguments: Mapping[str, Any], loc: Loc, check: _Check) -> None:
    for argument in CHOOSING:
        if check.components is None or argument not in arguments:
            continue
        selection = check.components.selected(argument, arguments[argument])
        for message, fix in selection.problems:
            place = _written_at((*loc, "arguments", argument), check)
            check.problems.add(*place, f"{func}: {message}", fix)
        check.touched.components |= selection.names
        if selection.later:
            check.touched.unresolved.append(f"{check.document.at(*loc)} ({func})")


def _written_at(loc: Loc, check: _Check) -> tuple[str, int]:
    """Where the value of an argument comes from: the gate, where it sets the variable that the
    argument uses.
    """
    raw: Any = check.document.data
    for step in loc:
        raw = raw[step]
    for name in VARIABLE.findall(str(raw)):
        if name in check.given.places:
            return check.given.places[name]
    return check.document.file, check.document.line(*loc)
