"""A person's stop is obeyed, also where Python drops what a signal's handler raises."""

from __future__ import annotations

import pytest

from stormgate.model import Event
from stormgate.supervise.supervisor import Supervisor
from stormgate.supervise.terms import RunStopped


@pytest.fixture
def supervisor() -> Supervisor:
    """In the middle of a trial, with nothing to look at."""
    made = object.__new__(Supervisor)
    made._stopping = False
    made._asked = None
    return made


class Finalized:
    """A signal that arrives while an object is finalized, or in the hooks of a fork."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    def __del__(self) -> None:
        self.supervisor._heard("SIGINT")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_that_was_dropped_is_obeyed_at_the_next_beat(supervisor: Supervisor) -> None:
    Finalized(supervisor)  # gone at once, and what it raised with it
    with pytest.raises(RunStopped, match="stopped by SIGINT") as stopped:
        supervisor._tick(0)
    assert stopped.value.event is Event.ABORT


def test_a_stop_that_was_heard_does_not_stop_what_is_done_about_it(supervisor: Supervisor) -> None:
    with pytest.raises(RunStopped):
        supervisor._heard("SIGTERM")
    supervisor._heard("SIGINT")  # once is enough
    try:
        raise RunStopped(None, "on its way")
    except RunStopped:
        supervisor._obey()
