"""What can go wrong while breaking things, one type per thing a caller may want to do about it."""

# ruff: noqa: N818 - named for what happened, as they read in a journal.

from __future__ import annotations


class ChaosError(Exception):
    """Base of every error of this package."""


class NoTarget(ChaosError):
    """There is neither a plan nor a target to act on; the message says how to get one."""


class EmptySelection(ChaosError):
    """Nothing in the target matches: a fault on nothing would pass everything."""


class CannotBreak(ChaosError):
    """This component cannot be broken this way (no such mode for its backend, no link leads to it,
    a bad parameter).
    """


class NotWhole(ChaosError):
    """The component was not answering before the fault, so its effect could not be told from what
    was there.
    """


class NotServed(ChaosError):
    """Users were not served before the fault; nothing was broken."""


class NotApplied(ChaosError):
    """The backend could not inject the fault."""


class Unproven(ChaosError):
    """The fault was injected, but no independent observation saw its effect in time; it was
    withdrawn.
    """


class UndoFailed(ChaosError):
    """A fault could not be undone, or nobody could see that it was. The ledger stays open."""


class Stopped(ChaosError):
    """The run is being stopped: nothing new is injected."""


class NotTriggered(ChaosError):
    """What a fault was to wait for did not happen in time; what came after it was not broken."""


class LeaseHeld(ChaosError):
    """Another run holds this target."""


class Halted(ChaosError):
    """Somebody ordered a halt: nothing is injected until it is taken back."""
