"""Users' code that never lets go is found out by name, and nothing of it is called again."""

import contextlib
import subprocess
import sys
import textwrap
import time

import pytest
from tests.unit.load.engine.rig import MS, OK, Rig, S

from stormgate.load import get
from stormgate.load.engine.watchdog import EXIT_CODE, FlowHungError, Watchdog


def never_yields(_session):
    while True:
        pass


def hangs_after(_session):
    yield get("/x")
    while True:
        pass


def clings(_session):
    yield get("/x")
    while True:
        with contextlib.suppress(ValueError):
            len("")


def hanging_check(_session):
    yield get("/x", check=lambda _reply: forever())


def forever():
    while True:
        pass


@contextlib.contextmanager
def watched(rig, hang_s=0.3):
    watchdog = Watchdog(lambda: rig.engine.beat_ns, hang_s)
    try:
        yield watchdog
    finally:
        watchdog.close()


@pytest.mark.parametrize(
    ("flow", "where"),
    [
        (never_yields, "never_yields"),
        (hangs_after, "hangs_after"),
        (clings, "clings"),
        (hanging_check, "forever"),
    ],
)
def test_a_flow_that_never_lets_go_is_named_and_ends_the_engine(flow, where):
    rig = Rig()
    rig.stream(flow, rate=100)
    rig.stream(lambda _s: (yield get("/good")), rate=100)
    with watched(rig) as watchdog:
        rig.run(100 * MS)
        assert watchdog.why is not None
        assert f"{__file__}:" in watchdog.why
        assert f"({where})" in watchdog.why
        assert "0.3 s" in watchdog.why
    assert rig.counters.engine_errors == 1
    assert where in rig.engine_errors[0]
    before = len(rig.transport.submitted)
    rig.run(S)  # nobody is asked any more: it would hang again
    rig.finish()
    assert len(rig.transport.submitted) == before


def test_a_flow_that_hangs_over_its_last_answer_does_not_keep_the_end_from_coming():
    rig = Rig(lambda _a: (OK, 50 * MS))
    rig.stream(hangs_after, rate=100)
    rig.run(40 * MS)
    assert rig.engine.in_flight
    with watched(rig):
        rows = rig.finish(grace_ns=100 * MS)
    assert rig.counters.engine_errors == 1
    assert len(rows) == rig.engine.planned
    assert rig.engine.in_flight == 0


def test_an_engine_that_waits_or_works_is_let_be():
    rig = Rig()
    rig.stream(lambda _s: (yield get("/x")), rate=100)
    with watched(rig, hang_s=0.1) as watchdog:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            rig.run(10 * MS)
            time.sleep(0.01)
        assert watchdog.why is None


def test_it_is_told_to_whoever_turns_the_engine_and_not_to_the_flow():
    """A BaseException of its own: `except Exception` of a user's does not swallow it."""
    assert not issubclass(FlowHungError, Exception)


def test_what_cannot_be_ended_ends_the_process(tmp_path):
    script = tmp_path / "clinging.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            sys.argv[0] = ""  # a user's file, not the program
            from stormgate.load.engine.watchdog import Watchdog

            def clinging():
                while True:
                    try:
                        while True:
                            pass
                    except BaseException:
                        pass

            watchdog = Watchdog(lambda: 1, 0.2)
            clinging()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == EXIT_CODE
    assert f"{script}:" in done.stderr
    assert "(clinging) has held up its whole load worker" in done.stderr
    assert "cannot be ended" in done.stderr
