"""Faults that are proven, and always undone: actions, probes, undo ledger and runner for Chaos
Toolkit.

The promise: whatever happens, either every fault is undone and verified, or the verdict is DIRTY
and says what to do. Only `run` and `control` import chaoslib; the judge may import `journal`, the
supervisor `ledger`, `lease` and `restore`.
"""

from stormgate.chaos.suite import reach

reach()
