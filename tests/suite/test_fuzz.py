"""The fuzzers, for 20 s in all; each runs longer by itself (see its module)."""

import pytest
from tests.suite import fuzz_documents, fuzz_folders

pytestmark = pytest.mark.live


def test_mutated_documents_make_a_plan_or_a_problem_with_its_line() -> None:
    report = fuzz_documents.run(seed=1, seconds=10)
    assert report.broken == []
    assert report.outcomes["plan"] > 0
    assert report.outcomes["problems"] > 0


def test_hostile_folders_are_named_and_never_passed_over() -> None:
    report = fuzz_folders.run(seed=1, seconds=10)
    assert report.broken == []
    assert report.cases > 0
