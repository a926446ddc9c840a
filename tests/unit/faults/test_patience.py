"""A platform that takes minutes is waited for, unless somebody says for how long."""

import threading
from dataclasses import replace
from typing import ClassVar

import pytest

from stormgate.faults import backends
from stormgate.faults.backends import Backend, Observation
from stormgate.faults.context import make_context
from stormgate.faults.errors import UndoFailed
from stormgate.faults.inject import PROOF_S, inject, proof_patience_s
from stormgate.faults.undo import UNDO_S, undo_all
from stormgate.model import Component, Target


@pytest.mark.parametrize(
    ("own", "asked", "waited"),
    [(0, PROOF_S, PROOF_S), (120, PROOF_S, 120), (120, 1, 1), (2, PROOF_S, PROOF_S)],
)
def test_the_proof_is_waited_for(own, asked, waited):
    backend = Backend()
    backend.proof_s = own
    assert proof_patience_s(backend, asked) == waited


class Slow(Backend):
    """Taken back at the second try; each says how long it may take."""

    modes: ClassVar = {"crash": backends.get("process").modes["crash"]}
    undo_s = UNDO_S + 60

    def __init__(self):
        self.offered = []

    def plan(self, request):
        return {"mode": "crash"}

    def apply(self, part, record, stop: threading.Event):
        pass

    def undo(self, part, record, timeout_s):
        self.offered.append(timeout_s)
        if len(self.offered) < 2:
            raise UndoFailed("not yet")

    def in_effect(self, part, record):
        return Observation(True, "broken")

    def is_whole(self, part, record):
        return Observation(True, "whole")


@pytest.mark.parametrize(("given", "most"), [({}, UNDO_S + 60), ({"deadline_s": 20}, 20)])
def test_undoing_gets_the_time_its_backend_needs(tmp_path, monkeypatch, given, most):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    slow, part = Slow(), Component(name="web", kind="service", backend="process")
    monkeypatch.setattr(backends, "get", lambda name: slow)
    # What is known of all backends is kept for the process: not what this one would make of it.
    monkeypatch.setattr(backends, "known_modes", lambda: tuple(slow.modes))
    target = replace(Target(name="shop"), components=(part,))
    (tmp_path / "run").mkdir()
    run = make_context(target, tmp_path / "run", fault="trial", seed=1)
    inject(run, [part], "crash")
    undo_all(run, **given)
    assert most - 5 < slow.offered[0] <= most
