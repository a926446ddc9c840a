"""A workload that broke is named; one whose flows raised over failed answers is only told."""

from __future__ import annotations

from typing import Any

import pytest

from stormgate.judge.rules.workload import check_workload
from stormgate.model import Verdict

TRACE = """Traceback (most recent call last):
  File "loadtests/users.py", line 7, in flow
    raise KeyError("id")
KeyError: 'id'
"""


def row(errors: Any, **more: Any) -> dict[str, Any]:
    return {"worker": "w0", "flow_errors": errors, **more}


def event(**more: Any) -> dict[str, Any]:
    return {"event": "load.flow_error", "flow": "Reader", "traceback": TRACE, **more}


def test_a_flow_that_raised_over_good_answers() -> None:
    found = check_workload([row(3), row(2)], [event()], 0)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "5 times" in found.why
    assert "Reader: KeyError: 'id'" in found.why
    assert "(loadtests/users.py, line 7, in flow)" in found.why


@pytest.mark.parametrize(("errors", "allowed"), [(0, 0), (4, 4)])
def test_no_more_than_allowed(errors: int, allowed: int) -> None:
    assert check_workload([row(errors)], [], allowed).verdict is Verdict.PASS


def test_errors_over_failed_answers_are_told_beside() -> None:
    rows = [row(0, flow_errors_over_failures=7)]
    found = check_workload(rows, [event(over_failure=True)], 0)
    assert found.verdict is Verdict.PASS
    assert found.detail == {"over_failed_answers": 7}


@pytest.mark.parametrize("errors", [None, "0", -1, float("nan")])
def test_a_count_that_is_none_says_nothing(errors: Any) -> None:
    assert check_workload([row(errors)], [], 0).verdict is Verdict.INCONCLUSIVE
    assert check_workload([{"worker": "w0"}], [], 0).verdict is Verdict.INCONCLUSIVE


def test_the_place_is_the_users_line_not_that_of_a_library_below_it():
    traceback = (
        "Traceback (most recent call last):\n"
        '  File "/x/src/stormgate/load/engine/engine.py", line 9, in _advance\n'
        '  File "/home/u/loadtests/users.py", line 6, in flow\n'
        '  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode\n'
        "json.decoder.JSONDecodeError: Expecting value\n"
    )
    row = {"event": "load.flow_error", "flow": "Reader", "traceback": traceback}
    why = check_workload([{"worker": "w", "flow_errors": 2}], [row], 0).why
    assert "Reader: json.decoder.JSONDecodeError: Expecting value" in why
    assert "(loadtests/users.py, line 6, in flow)" in why
    only_library = traceback.replace("/home/u/loadtests", "/usr/lib/python3.11")
    why = check_workload(
        [{"worker": "w", "flow_errors": 2}], [row | {"traceback": only_library}], 0
    )
    assert "decoder.py" in why.why
