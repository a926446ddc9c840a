"""A few runs of the kill matrix; sixty are `python -m tests.suite.kill_matrix`."""

import pytest
from tests.suite import kill_matrix

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]


def test_whatever_is_killed_the_target_is_whole_or_somebody_is_told(capsys):
    assert kill_matrix.main(["--target", "lab", "--runs", "4", "--seed", "20261124"]) == 0
    assert "whole" in capsys.readouterr().out
