"""What the lab can say when it cannot run."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot come up, or cannot do what was asked. The message is one line, fit to be shown
    to a person.
    """


class PortTakenError(LabError):
    """Somebody took a port between choosing and binding it: worth another try with other ports."""
