"""A recorded run as files that `stormgate gate` plays: a gate, and an experiment for each trial.
Pure: texts out.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stormgate.model import Objective, Plan
from stormgate.reproduce import native
from stormgate.reproduce.gate import Parts, gate_document
from stormgate.reproduce.recorded import Trial

GATE = "gate.yaml"
_NAME_LENGTH = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePlace:
    """Where a written suite stands: its folder, the Locust file and the target document beside
    which it is played. `tells_whole`: whether that target can say that it is whole.
    """

    folder: Path
    locustfile: Path
    target: Path
    tells_whole: bool = True

    def relative(self, path: Path) -> str:
        """How a document in the folder names a file."""
        return Path(os.path.relpath(path.resolve(), self.folder.resolve())).as_posix()


def texts(
    plan: Plan,
    trials: Sequence[Trial],
    place: SuitePlace,
    *,
    prefix: str,
    said: str,
    objectives: Sequence[Objective] | None = None,
) -> dict[str, str]:
    """The files by name. `prefix` begins the gate's name, `said` is the comment above it."""
    files = {trial.name: file_of(trial) for trial in trials}
    parts = Parts(
        name=_slug(f"{prefix}-{plan.gate}"),
        target=place.relative(place.target),
        locustfile=place.relative(place.locustfile),
        experiments={one.name: (files[one.name], one.recovery_s) for one in trials},
        overlaps={one.name: (one.overlaps, one.after_s) for one in trials if one.overlaps},
    )
    made = {GATE: yaml_text(gate_document(plan, parts, objectives), said)}
    return made | {files[one.name]: experiment_text(one, place, said) for one in trials}


def file_of(trial: Trial) -> str:
    """The file of a trial's experiment."""
    return f"{_slug(trial.name)}.yaml"


def experiment_text(
    trial: Trial, place: SuitePlace, said: str, hypothesis: Sequence[Mapping[str, Any]] = ()
) -> str:
    """A trial as an experiment's file."""
    document = native.experiment(
        f"{trial.name}, as it was",
        in_words(trial),
        trial.schedule,
        tells_whole=place.tells_whole,
        hypothesis=hypothesis,
    )
    return yaml_text(document, said)


def in_words(trial: Trial) -> str:
    """What a trial breaks, a line for each strike."""
    return "\n".join(strike_words(one) for one in native.strikes(trial.schedule))


def strike_words(one: native.Strike) -> str:
    """One strike in a line: `slow link:eu/web->eu/cache (latency_ms 120) for 4 s, from 2 s on`."""
    first = one.first
    names = one.component if isinstance(one.component, str) else ", ".join(one.component)
    how = ", ".join(f"{key} {value}" for key, value in sorted(first.params.items()))
    begin = f", from {first.start_s:.3g} s on" if first.start_s else ""
    return f"{first.mode} {names}{f' ({how})' if how else ''} for {first.length_s:.3g} s{begin}"


def yaml_text(data: Mapping[str, Any], said: str) -> str:
    """YAML in the order of the data, below a comment."""
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import walk_tree

    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    tree = _quoted(data)
    walk_tree(tree)  # texts of several lines stand as such
    yaml.dump(tree, stream)
    comment = "".join(f"# {line}\n" for line in said.splitlines())
    return comment + stream.getvalue()


# Plain words that Chaos Toolkit, which reads YAML 1.1, takes for something else: `off`, `1:30`.
_OLD_YAML = re.compile(
    r"(?i)y|n|yes|no|on|off|=|[-+]?[0-9.][0-9_.]*([:e][-+]?[0-9_.:]*)?|[-+]?0x[0-9a-f_]+|[0-9-]{8,10}"
)


def _quoted(value: Any) -> Any:
    """The same with every such word as a quoted text."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, Mapping):
        return {_quoted(key): _quoted(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_quoted(one) for one in value]
    if isinstance(value, str) and _OLD_YAML.fullmatch(value):
        return DoubleQuotedScalarString(value)
    return value


def _slug(name: str) -> str:
    found = re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.")
    return found[:_NAME_LENGTH].rstrip("-.") or "fault"
