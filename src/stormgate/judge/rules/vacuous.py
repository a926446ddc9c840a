"""Drivers of Chaos Toolkit that succeed over nothing: what of their results is no success. Pure.

chaostoolkit-aws and chaostoolkit-kubernetes return what the platform answered, or an empty list
where nothing matched, and Chaos Toolkit calls that a success. A fault on nothing proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_DRIVERS = ("chaosaws.", "chaosk8s.")
# What these do they do without saying anything.
_SAY_NOTHING = frozenset(
    {
        "chaosaws.asg.actions.change_subnets",
        "chaosaws.cloudwatch.actions.put_metric_data",
        "chaosaws.ec2.actions.pause_for_a_while",
        "chaosaws.ecs.actions.tag_resource",
        "chaosaws.ecs.actions.untag_resource",
        "chaosaws.elbv2.actions.delete_load_balancer",
        "chaosaws.s3.actions.delete_object",
        "chaosaws.s3.actions.toggle_versioning",
    }
)
# These draw with replacement.
_DRAWN = frozenset({"chaosk8s.node.actions.drain_nodes", "chaosk8s.node.actions.delete_nodes"})
_NONE_IS_FINE = ("chaosk8s.",)
# Where an answer of AWS lists what was done.
_DONE = frozenset(
    {
        "StoppingInstances",
        "StartingInstances",
        "TerminatingInstances",
        "CancelledSpotInstanceRequests",
    }
)
_ENDED_BADLY = frozenset({"failed", "cancelled", "timedout", "terminated", "rejected"})
# An experiment of the Fault Injection Service that may have had no targets: nobody can tell.
_SKIPS = (
    "Unproven: its emptyTargetResolutionMode is skip, so it may have run over nothing; use a "
    "template with fail (backend aws, service fis)"
)


def vacuous(module: str, func: str, output: Any) -> str | None:
    """Why the result of a driver's action is no success; None where nothing speaks against it, and
    for whoever is no such driver.
    """
    name = f"{module}.{func}"
    if not module.startswith(_DRIVERS) or not module.endswith("actions"):
        return None
    if output is None:
        fine = name in _SAY_NOTHING or module.startswith(_NONE_IS_FINE)
        return None if fine else f"{func} returned nothing: nobody knows that anything was done"
    if isinstance(output, Sequence | Mapping) and len(output) == 0:
        return f"{func} returned {output!r}: it matched nothing, so nothing was done"
    rows = output if isinstance(output, list) else [output]
    if name in _DRAWN and (twice := _twice(rows)):
        return f"{func} drew {twice} more than once, and broke fewer than it was asked to"
    return next((why for row in rows if (why := _row(func, row)) is not None), None)


def _twice(rows: Sequence[Any]) -> str:
    words = [row for row in rows if isinstance(row, str)]
    return ", ".join(sorted({one for one in words if words.count(one) > 1}))


def _row(func: str, row: Any) -> str | None:
    if not isinstance(row, Mapping):
        return None
    listed = [key for key in _DONE if key in row]
    if listed and not any(row[key] for key in listed):
        return f"{func}: {', '.join(sorted(listed))} is empty, so nothing was done"
    if row.get("kind") == "Status" and row.get("status") == "Failure":
        return f"{func}: the API server refused it: {row.get('message') or row.get('reason')}"
    code = row.get("exit_code")
    if code is not None and str(code) != "0":
        return f"{func}: its command ended with {code}"
    if row.get("FailedEntryCount"):
        return f"{func}: {row['FailedEntryCount']} entries failed"
    if row.get("FunctionError"):
        return f"{func}: the function ended with {row['FunctionError']}"
    return _experiment(func, row.get("experiment")) or _command(func, row.get("Command"))


def _experiment(func: str, experiment: Any) -> str | None:
    if not isinstance(experiment, Mapping):
        return None
    status = str((experiment.get("state") or {}).get("status", "")).lower()
    if status in _ENDED_BADLY:
        return f"{func}: the experiment is {status}"
    options = experiment.get("experimentOptions") or {}
    return _SKIPS if options.get("emptyTargetResolutionMode") == "skip" else None


def _command(func: str, command: Any) -> str | None:
    status = str(command.get("Status", "")) if isinstance(command, Mapping) else ""
    return f"{func}: its command is {status}" if status.lower() in _ENDED_BADLY else None
