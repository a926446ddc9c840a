"""Documents to model: strict, every error at once, each with its file, line and fix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stormgate.documents.problems import DocumentErrors, Problem, suite_root
from stormgate.documents.trial.given import NO_CHANGES, Changes

if TYPE_CHECKING:
    from stormgate.model import Plan, Target

__all__ = ["DocumentErrors", "Problem", "load_gate", "load_target", "suite_root"]


def load_gate(
    path: Path,
    *,
    allow_production: bool = False,
    finished: bool = False,
    changes: Changes = NO_CHANGES,
) -> Plan:
    """The plan of a release gate, with every document it refers to read and checked.

    `allow_production` is the owner's explicit word that a target with `environment: production` may
    be put on trial. `finished`: it is for a run that is over, not for one to come. `changes`: those
    of a short try. Paths in the
    plan are relative to `suite_root(path)`, the folder children run in. Secrets stay `${ENV}`
    references. Raises DocumentErrors.
    """
    from stormgate.documents.gate import load

    return load(path, allow_production=allow_production, finished=finished, changes=changes)


def load_target(path: Path) -> Target:
    """The system on trial that a target document describes. Raises DocumentErrors."""
    from stormgate.documents.target import load

    return load(path)
