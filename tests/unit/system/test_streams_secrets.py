"""A standard stream keeps secrets."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from stormgate.system import secrets
from stormgate.system.streams import lasting


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    secrets.forget()
    secrets.know("TOKEN", "hunter22")
    yield
    secrets.forget()


def test_what_is_printed_is_redacted_and_counts_as_written() -> None:
    under = io.StringIO()
    assert lasting(under).write("it is hunter22\n") == len("it is hunter22\n")
    assert under.getvalue() == "it is ***TOKEN***\n"
