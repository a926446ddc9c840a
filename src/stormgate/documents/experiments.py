"""Chaos Toolkit experiments, checked before anything is started: they fail green, so what can be
known is known beforehand.

Format: https://chaostoolkit.org/reference/api/experiment/ (1.0.0), YAML or JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stormgate import model
from stormgate.documents.components import Components
from stormgate.documents.holds import stands
from stormgate.documents.problems import Problems, nearest
from stormgate.documents.trial.calls import check_python, check_strangers
from stormgate.documents.trial.checking import Check, Given, Touched
from stormgate.documents.unheld import shown_secrets
from stormgate.documents.yamlfile import Loc, read_documents
from stormgate.faults.asked import ACTIONS, MODULE

__all__ = ["Given", "Touched", "check_experiment"]

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
    "timeout",
    "dry",
]
STRATEGIES = {"rollbacks": ("always", "default"), "hypothesis": ("default",)}
PROVIDER_KEYS = {
    "python": ["type", "module", "func", "arguments", "secrets", "timeout"],
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
    for other in documents[1:]:
        problems.add(
            other.file,
            other.line(),
            "a second document in an experiment's file",
            "one experiment, one file",
        )
    data = document.data
    if not isinstance(data, dict):
        problems.add(
            document.file,
            document.line(),
            "not an experiment",
            "write title, description, method and rollbacks",
        )
        return Touched()
    check = Check(document, problems, root, given, Components(target) if target else None)
    _check_head(data, check)
    _check_runtime(data, check)
    _check_rollbacks(data, check)
    for loc, activity in _activities(data):
        _check_activity(activity, loc, check)
    strangers = [
        loc
        for loc, one in _activities(data)
        if loc[0] == "method" and isinstance(one, dict) and one.get("type") == "action"
        if _our_action(one) is None
    ]
    check_strangers(data, strangers, check)
    found = stands(_list(data.get("method")), lambda value, loc: check.known(value))
    shortest = min(found, key=lambda one: one.seconds, default=None)
    if shortest is not None:
        held = len(shortest.loc) > 1  # else no `hold` follows it at all
        place = (document.file, document.line("method"))
        check.touched.stand = shortest, check.written_at(shortest.loc) if held else place
    return check.touched


def _check_head(data: dict[str, Any], check: Check) -> None:
    _check_slips(data, KEYS, "the experiment", (), check)
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


def _check_runtime(data: dict[str, Any], check: Check) -> None:
    """A gate looks at the hypothesis before and after and always plays the rollbacks: what asks for
    something else would not get it.
    """
    runtime = data.get("runtime")
    for part, taken in STRATEGIES.items():
        one = runtime.get(part) if isinstance(runtime, dict) else None
        strategy = one.get("strategy") if isinstance(one, dict) else None
        if strategy is not None and strategy not in taken:
            check.note(
                f"{part} strategy {strategy!r} is not what a gate does",
                f"write {' or '.join(taken)}, or leave it out",
                *("runtime", part, "strategy"),
            )


def _check_rollbacks(data: dict[str, Any], check: Check) -> None:
    """What we break we have to be told to undo; who else breaks something knows how it ends."""
    ours = [
        index
        for index, one in enumerate(_list(data.get("method")))
        if (name := _our_action(one)) is not None and ACTIONS[name].breaks
    ]
    undone = any(_our_action(one) == "undo" for one in _list(data.get("rollbacks")))
    if ours and not undone:
        none = not data.get("rollbacks")
        check.note(
            "the experiment has no rollbacks: its faults would stay"
            if none
            else "the rollbacks undo nothing of what the method breaks",
            f"add {{type: action, name: undo, provider: {{type: python, module: {MODULE}, "
            "func: undo}}",
            "rollbacks",
        )


def _our_action(activity: Any) -> str | None:
    """The name of the action of ours that an activity carries out; None for anything else."""
    provider = activity.get("provider") if isinstance(activity, dict) else None
    if not isinstance(provider, dict) or provider.get("module") != MODULE:
        return None
    func = provider.get("func")
    return func if isinstance(func, str) and func in ACTIONS else None


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


def _check_activity(activity: Any, loc: Loc, check: Check) -> None:
    if not isinstance(activity, dict):
        check.note("an activity is not a mapping", "write type, name and provider", *loc)
        return
    _check_slips(activity, ACTIVITY_KEYS, "an activity", loc, check)
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
    _check_slips(provider, PROVIDER_KEYS[kind], "a provider", (*loc, "provider"), check)
    if kind == "python":
        check_python(provider, (*loc, "provider"), check)
    elif kind == "process" and (shown := shown_secrets(provider, check.document.data)):
        check.note(
            f"${{{shown[0]}}} among a process's arguments, where `ps` shows it to everyone",
            "the process inherits the environment: let it read it there",
            *loc,
            "provider",
            "arguments",
        )


def _check_slips(
    data: Mapping[str, Any], keys: list[str], where: str, loc: Loc, check: Check
) -> None:
    """Chaos Toolkit takes any key and ignores those it does not know: one that is nearly another is
    a slip, and what it was to say would be ignored.
    """
    for key in data:
        fix = nearest(key, keys) if key not in keys else ""
        if fix.startswith("did you mean"):
            check.note(f"unknown key {key!r} in {where}", fix, *loc, key)
