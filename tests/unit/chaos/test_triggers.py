"""A fault that waits for something is not injected when it does not happen."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from stormgate.chaos.triggers import wait_for
from stormgate.faults.errors import NotTriggered, Stopped


def exists(path: Path) -> dict[str, Any]:
    return {"module": "os.path", "func": "exists", "arguments": {"path": str(path)}}


def test_it_waits_until_it_is_so(tmp_path: Path) -> None:
    file = tmp_path / "there"
    threading.Timer(0.3, file.touch).start()
    began = time.monotonic()
    assert wait_for(exists(file), True, 30, 0.05, threading.Event()) is True
    assert time.monotonic() - began >= 0.25


@pytest.mark.parametrize(
    ("probe", "tolerance", "says"),
    [
        (exists(Path("/nowhere")), True, "it said False"),
        ({"module": "math", "func": "sqrt", "arguments": {"x": -1}}, True, "it failed"),
        # Nothing measured is within no tolerance, whatever the tolerance is.
        ({"module": "builtins", "func": "print", "arguments": {}}, None, "it said None"),
    ],
)
def test_what_never_happens_is_told(probe: dict[str, Any], tolerance: Any, says: str) -> None:
    with pytest.raises(NotTriggered, match=says) as caught:
        wait_for(probe, tolerance, 0.2, 0.05, threading.Event())
    assert "within 0.2 s" in str(caught.value)


def test_it_is_asked_once_more_at_the_deadline(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    assert wait_for(exists(tmp_path / "there"), True, 0.0, 5, threading.Event()) is True


def test_a_stop_ends_the_wait() -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Stopped):
        wait_for(exists(Path("/nowhere")), True, 30, 0.05, stopping)
