"""A suite of its own for each test, and no gate that outlives it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.gate.bench import Gate, Suite, make_suite


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return make_suite(tmp_path)


@pytest.fixture
def gates(suite: Suite) -> Iterator[list[Gate]]:
    """Gates that a failed test would leave running are ended by their own pid."""
    running: list[Gate] = []
    yield running
    for gate in running:
        if gate.process.poll() is None:
            gate.process.send_signal(signal.SIGTERM)
            try:
                gate.process.wait(60)
            except subprocess.TimeoutExpired:
                gate.process.kill()
                gate.process.wait()
