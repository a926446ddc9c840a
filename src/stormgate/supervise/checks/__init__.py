"""What only the target and this machine can tell before a run, row by row: nothing is broken by it.

A row that is wrong is a run that could not have been trusted. What is merely bad about the release
(slow, some errors) is none of it: that is the gate's to judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stormgate.faults.declared import CheckRow
from stormgate.model import Plan
from stormgate.supervise.checks import machine, there, tryout

__all__ = ["CheckRow", "Suite", "look_before"]


@dataclass(frozen=True, slots=True)
class Suite:
    """Where a gate's documents are: `root` holds the content folders and is where its children run,
    `reports` gets its run folders.
    """

    root: Path
    reports: Path


def look_before(plan: Plan, suite: Suite) -> Iterator[CheckRow]:
    """Every row, as it becomes known. The load is tried only at a target that was found whole, and
    a target that the gate starts itself is not there yet to be looked at.
    """
    yield from machine.rows(plan, suite.reports)
    if plan.target.provision is not None:
        saw = "the gate starts it itself: nothing to look at yet"
        yield CheckRow(f"target {plan.target.name}", True, saw)
        return
    whole = True
    for row in there.rows(plan, suite.root):
        whole = whole and row.ok
        yield row
    if whole:
        yield from tryout.rows(plan, suite.root)
    else:
        yield CheckRow("routes", True, "not tried: first what is wrong above")
