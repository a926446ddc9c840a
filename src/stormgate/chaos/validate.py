"""`python -m stormgate.chaos.validate`: would Chaos Toolkit take these experiments, as `chaos
validate` asks it? Standard input: `[{"path", "configuration"}]`; standard output, for each in
order: `[{"loc": [...], "message", "fix"}]`.

Validating imports the modules an experiment names: in a process of its own, whose end is nobody's
loss, and from which no packet leaves.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from chaoslib.activity import ensure_activity_is_valid
from chaoslib.configuration import load_configuration
from chaoslib.experiment import ensure_experiment_is_valid
from chaoslib.hypothesis import ensure_hypothesis_tolerance_is_valid
from chaoslib.loader import parse_experiment_from_file
from chaoslib.secret import load_secrets

from stormgate.system.processes import die_with_parent

Found = list[dict[str, Any]]
Loc = tuple[str | int, ...]

# What a message of Chaos Toolkit speaks of, and where that is written within an activity.
_SPOKEN_OF: tuple[tuple[str, Loc], ...] = (
    ("Python module", ("provider", "module")),
    ("does not expose", ("provider", "func")),
    ("function name", ("provider", "func")),
    ("argument", ("provider", "arguments")),
    ("pause", ("pauses",)),
    ("timeout", ("timeout",)),
    ("background", ("background",)),
    ("headers", ("provider", "headers")),
    ("URL", ("provider", "url")),
    ("path", ("provider", "path")),
    ("provider", ("provider",)),
)
_NETWORK = frozenset(
    {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.bind"}
)


def with_given(experiment: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The experiment with the gate's values in its configuration: they win over its own, also over
    one that names an environment variable, whether that is set or not.
    """
    own = experiment.get("configuration")
    if not given or (own is not None and not isinstance(own, dict)):
        return experiment
    return {**experiment, "configuration": {**(own or {}), **given}}


def problems_of(path: str, given: Mapping[str, Any]) -> Found:
    """Everything Chaos Toolkit would refuse in an experiment, each with its place."""
    found: Found = []

    def attempt(loc: Loc, check: Callable[..., Any], *given: Any) -> Any:
        try:
            return check(*given)
        except Exception as error:  # modules of others raise what they like when imported
            message = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, PermissionError) and _REFUSED in message:
                message = f"importing it needs the network: {message}"
            at = next((where for word, where in _SPOKEN_OF if word in message), ())
            found.append({"loc": [*loc, *at], "message": message, "fix": _fix(message)})
            return None

    experiment = attempt((), parse_experiment_from_file, path)
    if not isinstance(experiment, dict):
        return found
    experiment = with_given(experiment, given)
    for part, load in (("configuration", load_configuration), ("secrets", load_secrets)):
        for key, value in _items(experiment.get(part)):
            if not _in_vault(value):
                attempt((part, key), load, {key: copy.deepcopy(value)})
    names = {one.get("name") for _, one in _activities(experiment) if isinstance(one, dict)}
    hypothesis = experiment.get("steady-state-hypothesis")
    if isinstance(hypothesis, dict) and not hypothesis.get("title"):
        message = "the hypothesis has no title"
        at = ["steady-state-hypothesis"]
        found.append({"loc": at, "message": message, "fix": "add a title"})
    for loc, activity in _activities(experiment):
        before = len(found)
        attempt(loc, ensure_activity_is_valid, activity)
        if not isinstance(activity, dict):
            continue
        ref = activity.get("ref")
        if ref is not None and ref not in names and len(found) == before:
            message = f"referenced activity {ref!r} is not in the experiment"
            found.append({"loc": [*loc, "ref"], "message": message, "fix": "name one that is"})
        if loc[0] == "steady-state-hypothesis" and "tolerance" in activity:
            tolerance = activity["tolerance"]
            attempt((*loc, "tolerance"), ensure_hypothesis_tolerance_is_valid, tolerance)
    if not found:
        attempt((), ensure_experiment_is_valid, copy.deepcopy(experiment))
    return found


_REFUSED = "validating an experiment contacts nobody"


def _fix(message: str) -> str:
    if "environment key" in message:
        return "set it, give it a default, or let the gate's configuration say it"
    if "Python module" in message:
        return "install the package that has it here, or mend its name"
    if "cannot be found" in message:
        return "install it here, or write its whole path"
    return "Chaos Toolkit would refuse to run it"


def _activities(experiment: Mapping[str, Any]) -> list[tuple[Loc, Any]]:
    hypothesis = experiment.get("steady-state-hypothesis")
    probes = hypothesis.get("probes") if isinstance(hypothesis, dict) else None
    found: list[tuple[Loc, Any]] = [
        (("steady-state-hypothesis", "probes", n), one) for n, one in enumerate(_listed(probes))
    ]
    for key in ("method", "rollbacks"):
        found += [((key, n), one) for n, one in enumerate(_listed(experiment.get(key)))]
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _items(value: Any) -> list[tuple[str, Any]]:
    return [(str(key), one) for key, one in value.items()] if isinstance(value, dict) else []


def _in_vault(value: Any) -> bool:
    """Whether a secret lies in a vault: only a run may ask that."""
    return isinstance(value, dict) and (
        value.get("type") == "vault" or any(_in_vault(one) for one in value.values())
    )


def _no_packet(event: str, _: tuple[Any, ...]) -> None:
    if event in _NETWORK:
        raise PermissionError(f"{_REFUSED} ({event})")


def main() -> int:
    """See the module."""
    die_with_parent(death_signal=signal.SIGKILL)
    logging.disable(logging.CRITICAL)
    wanted = json.load(sys.stdin)
    # What a module prints while it is imported is no part of the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.addaudithook(_no_packet)
    found = [problems_of(one["path"], one["configuration"]) for one in wanted]
    json.dump(found, answer)
    answer.close()
    os._exit(0)  # what a module left running is not waited for


if __name__ == "__main__":
    sys.exit(main())
