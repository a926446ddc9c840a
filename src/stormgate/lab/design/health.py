"""When a peer is held dead, and when alive again. Pure: times are given."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Probe(enum.StrEnum):
    """How asking a peer ended: it answered well, nobody was there (or it said no), or nothing came
    in time.
    """

    OK = "ok"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(slots=True)
class Health:
    """Judges one peer by a row of probes.

    Down once every probe failed for `silent_s`, or every one was refused for `refused_s`; up once
    every one was fine for `back_s`. `dead` is more than not up: one that was never seen alive may
    be starting still, and is dead after `unseen_s` only. Times are seconds of one monotonic clock;
    a failure counts from when its probe began.
    """

    refused_s: float
    silent_s: float
    back_s: float = 0.0
    unseen_s: float = 10.0
    up: bool = False
    seen: bool = False
    dead: bool = False
    _failing_since: float | None = field(default=None, repr=False)
    _refused_since: float | None = field(default=None, repr=False)
    _fine_since: float | None = field(default=None, repr=False)

    def record(self, probe: Probe, began_s: float, ended_s: float) -> bool:
        """Take one result in; True when it changed `up`."""
        before = self.up
        if probe is Probe.OK:
            self._failing_since = self._refused_since = None
            self._fine_since = began_s if self._fine_since is None else self._fine_since
            # The first good answer ever needs no waiting: there was no failure to recover from.
            if not self.up and (not self.seen or ended_s - self._fine_since >= self.back_s):
                self.up = True
                self.dead = False
            self.seen = True
            return self.up != before
        self._fine_since = None
        self._failing_since = began_s if self._failing_since is None else self._failing_since
        if probe is Probe.SILENT:
            self._refused_since = None
        else:
            self._refused_since = began_s if self._refused_since is None else self._refused_since
        refused = (
            self._refused_since is not None and ended_s - self._refused_since >= self.refused_s
        )
        if self.up and (refused or ended_s - self._failing_since >= self.silent_s):
            self.up = False
            self.dead = True
        if not self.seen and ended_s - self._failing_since >= self.unseen_s:
            self.dead = True
        return self.up != before
