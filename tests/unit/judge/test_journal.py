"""What a Chaos Toolkit journal says about the validity of a trial; every way it ends green and
should not.
"""

import copy

import pytest

from stormgate.judge.journal import OURS, problems
from stormgate.model import Verdict


def activity(name, kind="action", module="drivers.mine", func="go", **more):
    return {
        "type": kind,
        "name": name,
        "provider": {"type": "python", "module": module, "func": func},
        **more,
    }


def run(planned, status="succeeded", output=None, **more):
    return {"activity": planned, "status": status, "output": output, **more}


KILL = activity("kill", module="stormgate.chaos.actions", func="kill")
LOOK = activity("look", "probe", tolerance=True)
UNDO = activity("undo", module="stormgate.chaos.actions", func="undo")
THEIRS = activity("theirs")
WHOLE = activity("whole", module="stormgate.chaos.actions", func="wait_until_whole")


def good():
    return {
        "experiment": {
            "title": "t",
            "method": [KILL, LOOK],
            "rollbacks": [UNDO, THEIRS, WHOLE],
            "dry": None,
        },
        "status": "completed",
        "deviated": False,
        "steady_states": {
            "before": {"steady_state_met": True, "probes": [run(LOOK, tolerance_met=True)]},
            "after": {"steady_state_met": True, "probes": [run(LOOK, tolerance_met=True)]},
            "during": [],
        },
        "run": [run(KILL, output=[1]), run(LOOK, output=True, tolerance_met=True)],
        "rollbacks": [run(UNDO), run(THEIRS), run(WHOLE)],
        OURS: {"open": []},
    }


def test_a_journal_played_as_written_has_no_problem():
    assert problems(good()) == []


def changed(path, value):
    journal = copy.deepcopy(good())
    place = journal
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return journal


def failed(planned, error):
    return run(planned, "failed", exception=[f"chaoslib.exceptions.ActivityFailed: {error}\n"])


CASES = {
    "no journal": (None, Verdict.ERROR, "no journal"),
    "empty journal": ({}, Verdict.ERROR, "no journal"),
    "another file": ({"status": "completed"}, Verdict.ERROR, "not Chaos Toolkit's"),
    "baseline out of tolerance": (
        changed(
            ["steady_states", "before"],
            {"steady_state_met": False, "probes": [run(LOOK, output=False, tolerance_met=False)]},
        ),
        Verdict.INCONCLUSIVE,
        "did not hold before the fault: 'look' was False",
    ),
    "baseline probe raised": (
        changed(
            ["steady_states", "before"],
            {"steady_state_met": False, "probes": [failed(LOOK, "OSError: no")]},
        ),
        Verdict.ERROR,
        "could not be looked at before the fault: 'look': OSError: no",
    ),
    "action raised": (
        changed(["run", 0], failed(KILL, "stormgate.faults.errors.CannotBreak: no")),
        Verdict.ERROR,
        "'kill' failed",
    ),
    "fault unproven": (
        changed(
            ["run", 0], failed(KILL, "stormgate.faults.errors.Unproven: x: not seen within 5 s")
        ),
        Verdict.INCONCLUSIVE,
        "not seen within 5 s",
    ),
    "action returned false": (
        changed(["run", 0], run(KILL, output=False)),
        Verdict.ERROR,
        "returned false",
    ),
    "method probe out of tolerance": (
        changed(["run", 1], run(LOOK, output=False, tolerance_met=False)),
        Verdict.INCONCLUSIVE,
        "out of its tolerance",
    ),
    "method probe held against nothing": (
        changed(["run", 1], run(LOOK, output=False)),
        Verdict.INCONCLUSIVE,
        "nobody held",
    ),
    "method cut short": (changed(["run"], [run(KILL)]), Verdict.INCONCLUSIVE, "only 1 of 2 steps"),
    "continuous check failed and recovered": (
        changed(
            ["steady_states", "during"],
            [{"steady_state_met": False, "probes": [run(LOOK, output=0, tolerance_met=False)]}],
        ),
        Verdict.INCONCLUSIVE,
        "during the method",
    ),
    "deviated": (
        changed(
            ["steady_states", "after"],
            {"steady_state_met": False, "probes": [run(LOOK, output=3, tolerance_met=False)]},
        ),
        Verdict.INCONCLUSIVE,
        "did not hold after the method",
    ),
    "deviated without a state": (changed(["deviated"], True), Verdict.INCONCLUSIVE, "deviated"),
    "interrupted": (changed(["status"], "interrupted"), Verdict.ABORTED, "interrupted"),
    "aborted": (changed(["status"], "aborted"), Verdict.ERROR, "gave up"),
    "never ended": (changed(["status"], None), Verdict.ERROR, "did not end"),
    "their rollback raised": (
        changed(["rollbacks", 1], failed(THEIRS, "OSError: x")),
        Verdict.DIRTY,
        "rollback 'theirs' failed: OSError",
    ),
    "their rollback returned false": (
        changed(["rollbacks", 1], run(THEIRS, output=False)),
        Verdict.DIRTY,
        "returned false",
    ),
    "their rollback has no status": (
        changed(["rollbacks", 1, "status"], ...),
        Verdict.DIRTY,
        "rollback 'theirs'",
    ),
    "their rollback not played": (
        changed(["rollbacks"], [run(UNDO), run(WHOLE)]),
        Verdict.DIRTY,
        "'theirs' was not played",
    ),
    "none played": (changed(["rollbacks"], []), Verdict.DIRTY, "was not played"),
    "our undo failed, a later try did it": (
        changed(["rollbacks", 0], failed(UNDO, "UndoFailed: x")),
        Verdict.ERROR,
        "a later try",
    ),
    "never whole again": (
        changed(["rollbacks", 2], failed(WHOLE, "UndoFailed: not whole")),
        Verdict.DIRTY,
        "not whole",
    ),
    "still broken": (changed([OURS, "open"], ["x (crash)"]), Verdict.DIRTY, "still broken: x"),
    "dry": (changed(["experiment", "dry"], "actions"), Verdict.INCONCLUSIVE, "dry run"),
    "no action": (changed(["experiment", "method"], [LOOK]), Verdict.INCONCLUSIVE, "no action"),
}


@pytest.mark.parametrize("name", CASES)
def test_every_way_to_fail_green(name):
    journal, severity, says = CASES[name]
    found = problems(journal)
    assert severity == max((problem.severity for problem in found), key=lambda v: v.severity), found
    assert any(says in problem.why for problem in found), found


def test_our_undo_without_the_ledgers_word_is_dirty():
    journal = changed(["rollbacks", 0], failed(UNDO, "UndoFailed: x"))
    del journal[OURS]
    assert Verdict.DIRTY in {problem.severity for problem in problems(journal)}


@pytest.mark.parametrize(
    ("whole", "severity"), [(True, Verdict.ERROR), (False, Verdict.DIRTY), (None, Verdict.DIRTY)]
)
def test_waiting_for_whole_is_made_up_for_only_by_being_whole(whole, severity):
    journal = changed(["rollbacks"], [run(UNDO), run(THEIRS)])
    journal[OURS] = {"open": [], "whole": whole}
    assert {problem.severity for problem in problems(journal)} == {severity}
    journal[OURS]["gone"] = True
    assert {problem.severity for problem in problems(journal)} == {Verdict.ERROR}


def test_background_activities_recorded_in_another_order_are_all_there():
    journal = good()
    journal["run"].reverse()
    assert problems(journal) == []


def test_an_interrupted_activity_has_no_status_and_is_an_abort_not_an_error():
    journal = changed(["run", 0, "status"], ...)
    journal["status"] = "interrupted"
    journal["run"].pop()
    assert {problem.severity for problem in problems(journal)} == {Verdict.ABORTED}


def test_the_judge_may_import_it_without_chaoslib():
    import subprocess
    import sys

    heavy = "{'chaoslib', 'requests', 'pyarrow'}"
    code = f"import sys, stormgate.judge.journal; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_wait_of_ours_may_say_false_for_that_may_be_what_was_waited_for():
    wait = activity("until", module="stormgate.chaos.actions", func="until")
    journal = good()
    journal["experiment"]["method"].append(wait)
    journal["run"].append(run(wait, output=False))
    assert problems(journal) == []
