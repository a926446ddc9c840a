"""The readings of a gate: which probes are read all through a run, and that each objective over
readings has its probe among them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from stormgate import model
from stormgate.documents.gate_shape import ReadingShape, ReceiveShape
from stormgate.documents.problems import Problems, nearest
from stormgate.documents.signatures import module, signature
from stormgate.documents.yamlfile import Document
from stormgate.net.allow import AllowList

_ACTIONS = "stormgate.chaos.actions"


def read_readings(
    shapes: Sequence[ReadingShape], gate: Document, root: Path, problems: Problems
) -> tuple[model.Sampling, ...]:
    """The probes to read. What is wrong with one is noted, as far as its source tells."""
    names: set[str] = set()
    for index, shape in enumerate(shapes):
        at = ("spec", "readings", index)
        if shape.name in names:
            line = gate.line(*at, "name")
            problems.add(gate.file, line, f"reading {shape.name!r} is listed twice", "rename one")
        names.add(shape.name)
        _check_probe(shape, gate, index, root, problems)
    return tuple(
        model.Sampling(
            name=shape.name,
            module=shape.module,
            func=shape.func,
            arguments=shape.arguments,
            every_s=shape.every,
            within_s=shape.within,
        )
        for shape in shapes
    )


def check_receive(
    shape: ReceiveShape | None, gate: Document, target: model.Target | None, problems: Problems
) -> None:
    """Note an address to listen at that is not among those the target may be contacted at: what is
    told there comes from the target.
    """
    if shape is None or target is None:
        return
    host = shape.listen.rpartition(":")[0].strip("[]")
    if not AllowList(target.allow).permits(host, host):
        problems.add(
            gate.file,
            gate.line("spec", "receive", "listen"),
            f"{host} is not in the target's allow list",
            f"listen at one of {', '.join(target.allow) or '127.0.0.0/8'}",
        )


def _check_probe(
    shape: ReadingShape, gate: Document, index: int, root: Path, problems: Problems
) -> None:
    def note(message: str, fix: str, *loc: str) -> None:
        problems.add(gate.file, gate.line("spec", "readings", index, *loc), message, fix)

    check_call(shape.module, shape.func, shape.arguments, root, note)


def check_call(
    name: str, func: str, arguments: Mapping[str, Any], root: Path, note: Callable[..., object]
) -> None:
    """Note what is wrong with a call of a probe: `note(message, fix, *place)`."""
    if name == _ACTIONS:
        note("an action is no probe: it changes the system", "read a probe", "module")
        return
    source = module(name, root)
    if source is None:
        note(f"there is no module {name!r}", "probes are in probes/", "module")
        return
    found = signature(func, source, root)
    if found is None:
        fix = nearest(func, source.names, what="it has")
        note(f"module {name} has no function {func!r}", fix, "func")
        return
    for key in arguments:
        if key not in found.arguments and not found.open_ended:
            fix = nearest(key, found.arguments, what="it takes")
            note(f"{func} takes no argument {key!r}", fix, "arguments", key)
    for key in found.required:
        if key not in arguments:
            note(f"{func} needs argument {key!r}", f"add arguments: {{{key}: …}}")


def check_reads(
    objective: model.Objective,
    document: Document,
    index: int,
    there: Collection[str],
    problems: Problems,
) -> None:
    """Note an objective over readings that nothing of a run to come would write."""
    from stormgate.judge import registry

    probe = registry.kinds()[objective.kind].reads(objective.spec)
    if probe is not None and probe not in there:
        fix = (
            nearest(probe, sorted(there), what="readings")
            if there
            else "add it under readings: {name, module, func, every}; or judge a folder in which "
            "your own tool wrote readings.ndjson: stormgate judge FOLDER --sla GATE"
        )
        problems.add(
            document.file,
            document.line("spec", "objectives", index, "probe"),
            f"nothing in this gate writes readings of {probe!r}: {objective.name!r} could never "
            "pass",
            fix,
        )
