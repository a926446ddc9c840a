"""The same examples in every run, however busy the machine: a draw that finds something new is not
what decides whether a change may land. To look for more: `pytest --hypothesis-profile=default`.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("stormgate", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("stormgate")


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever's tests run beside these, and whatever this user has open, holds other targets."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before
