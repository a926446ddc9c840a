"""One control plane for all tests of this folder."""

from __future__ import annotations

import os

import pytest
from tests.kubernetes.plane import binaries, running


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    if binaries() is None:
        pytest.fail("the control plane was never built: make test-kubernetes")
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    with running(tmp_path_factory.mktemp("plane")) as made:
        yield made
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before
