"""One stand-in of a cluster for all tests of a module, in three zones of two regions."""

from __future__ import annotations

import pytest
from tests.live.kubernetes.here import Here

from stormgate.faults.backends.kubernetes import api


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A cluster with a Deployment `web` of 3 in namespace `shop`, and what the tests do to it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with Here.made(tmp_path) as made:
        yield made
    api._cluster.cache_clear()
