"""What can go wrong between us and a Toxiproxy server, one type per thing a caller may want to do
about it.
"""

# ruff: noqa: N818 - named in the words of the API (`proxy not found`), as callers will look for them.

from __future__ import annotations


class ToxiproxyError(Exception):
    """Base of every error of this package."""


class InvalidRequest(ToxiproxyError, ValueError):
    """Refused on our side: the real server would accept it silently, misread it, or die of it."""


class ServerUnreachable(ToxiproxyError):
    """Nobody answers at the address, or the server died while answering. State after a write is
    unknown.
    """


class ServerWedged(ToxiproxyError):
    """The server holds the connection but does not answer (or gave up with 503). Only a restart
    helps for certain.
    """


class UnexpectedAnswer(ToxiproxyError):
    """The answer is not one of Toxiproxy's (HTML, no JSON, another shape): another program at this
    address?
    """


class RequestRejected(ToxiproxyError):
    """4xx: the server understood and refused."""


class ProxyNotFound(RequestRejected):
    """There is no proxy of this name."""


class ToxicNotFound(RequestRejected):
    """The proxy has no toxic of this name."""


class AlreadyExists(RequestRejected):
    """A proxy, or a toxic on this proxy, of this name exists already."""


class ServerFailed(ToxiproxyError):
    """5xx with Toxiproxy's own error body; most often the listen address is taken or not ours."""


class ToxicNotApplied(ToxiproxyError):
    """The server accepted a write, but reading it back shows something else."""


class ResetIncomplete(ToxiproxyError):
    """Some proxies could not be brought back; `failures` says which and why. All others were."""

    def __init__(self, failures: dict[str, Exception]) -> None:
        self.failures = failures
        listed = "; ".join(f"{name}: {error}" for name, error in sorted(failures.items()))
        super().__init__(f"{len(failures)} proxies are not reset: {listed}")


class ServerNotStarted(ToxiproxyError):
    """The server process ended, or did not answer in time; the message quotes its log."""
