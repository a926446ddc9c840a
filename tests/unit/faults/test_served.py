"""Nothing is broken while users are not served."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.golden.judge_writer import BAD, S, objective, plan_of, rows_of, synthetic, write_folder

from stormgate.faults.context import Context, make_context
from stormgate.faults.errors import NotServed, Stopped
from stormgate.faults.inject import inject
from stormgate.faults.looks.served import check_served
from stormgate.judge.journal import problems
from stormgate.model import Component, Verdict

PLAN = plan_of([objective("failover", lte_s=5)], steady_s=20, faults=["kill"])


def context(tmp_path: Path, bad: Any = None) -> Context:
    """The context of a run whose samples so far are in the folder."""
    rows = rows_of(PLAN)
    if bad is not None:
        rows.outcome[bad(rows)] = BAD
    folder = write_folder(synthetic(PLAN, rows), tmp_path)
    (folder / "timeline.ndjson").unlink()
    (folder / "undo.ndjson").unlink()
    return make_context(PLAN.target, folder, fault="kill", seed=1, plan=PLAN)


def last_seconds(rows: Any) -> Any:
    return (rows.population == 2) & (rows.intended_ns > rows.intended_ns.max() - 4 * S)


def test_everybody_is_served(tmp_path: Path) -> None:
    check_served(context(tmp_path), patience_s=0)


def test_what_was_wrong_is_over(tmp_path: Path) -> None:
    made = context(tmp_path, lambda rows: rows.intended_ns < rows.intended_ns.max() - 6 * S)
    check_served(made, patience_s=0)


def test_who_is_not_served_is_named_and_nothing_is_broken(tmp_path: Path) -> None:
    made = context(tmp_path, last_seconds)
    with pytest.raises(NotServed, match=r"lima: .* requests of the last 5 s were bad") as caught:
        check_served(made, patience_s=0)
    assert "london" not in str(caught.value)
    ledger = tmp_path / "undo.ndjson"
    assert not ledger.exists() or ledger.read_text() == ""
    assert (tmp_path / "timeline.ndjson").read_text() == ""


def test_injecting_asks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = context(tmp_path, last_seconds)
    part = Component(name="web", kind="service", backend="command", handle={})
    monkeypatch.setattr(
        "stormgate.faults.inject.check_served", lambda where: check_served(where, patience_s=0)
    )
    with pytest.raises(NotServed):
        inject(made, [part], "crash")


def test_it_waits_for_users_to_be_served(tmp_path: Path) -> None:
    made = context(tmp_path, last_seconds)
    # The samples of later seconds: the same run again, ten seconds on, and all good.
    rows = rows_of(PLAN)
    rows.intended_ns = rows.intended_ns + 10 * S
    rows.worker = np.full(len(rows.worker), 9, np.int32)
    later = threading.Timer(0.8, lambda: write_folder(synthetic(PLAN, rows), tmp_path))
    later.start()
    check_served(made, patience_s=60)
    later.join()


def test_a_stop_ends_the_waiting(tmp_path: Path) -> None:
    made = context(tmp_path, last_seconds)
    made.stopping.set()
    with pytest.raises(Stopped):
        check_served(made, patience_s=60)


def test_without_a_plan_nobody_is_asked(tmp_path: Path) -> None:
    made = context(tmp_path, last_seconds)
    made.plan = None
    check_served(made, patience_s=0)


def test_in_a_journal_it_leaves_the_trial_undecided() -> None:
    action = {"type": "action", "name": "kill", "provider": {"module": "m", "func": "f"}}
    said = "stormgate.faults.errors.NotServed: users are not served, so nothing was broken: lima"
    journal = {
        "experiment": {"method": [action], "rollbacks": []},
        "status": "completed",
        "steady_states": {},
        "run": [{"activity": action, "status": "failed", "exception": [said]}],
        "rollbacks": [],
        "stormgate": {"open": []},
    }
    (problem,) = problems(journal)
    assert problem.severity is Verdict.INCONCLUSIVE
    assert "users are not served" in problem.why


def test_a_shape_with_few_users_is_held_to_few(tmp_path: Path) -> None:
    """Silence is expected of a load that is planned to be small, and of no other."""
    made = context(tmp_path)
    for file in (made.folder / "samples").glob("*"):
        file.unlink()
    with pytest.raises(NotServed, match="nobody has asked anything yet"):
        check_served(made, patience_s=0)
    schedule = ((0.0, 1.0), (3600.0, 1.0))
    load = replace(PLAN.load, users=10_000, shape="Tide", schedule=schedule)
    tide = replace(PLAN, load=load)
    begun = {"at_ns": time.monotonic_ns() - 60 * S, "event": "load.step", "users": 1}
    (tmp_path / "timeline.ndjson").write_text(json.dumps(begun) + "\n")
    check_served(
        make_context(PLAN.target, made.folder, fault="kill", seed=1, plan=tide), patience_s=0
    )
