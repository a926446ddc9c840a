"""Secrets are references until the one request that needs them."""

from __future__ import annotations

import pytest

from stormgate.documents.references import resolved, unset_references
from stormgate.model import Component, Population, Target

TARGET = Target(
    name="t",
    status_url="https://${HOST}/status",
    populations=(
        Population(name="p", share=1, latitude=0, longitude=0, headers={"Authorization": "Bearer ${TOKEN}", "x": "$PLAIN"}),
    ),
    components=(Component(name="c", kind="x", backend="command", handle={"apply": {"crash": ["kill.sh", "${KEY}", "${KEY}"]}}),),
)


def test_what_is_not_set_is_named() -> None:
    assert unset_references(TARGET, {}) == ["HOST", "KEY", "TOKEN"]
    assert unset_references(TARGET, {"HOST": "h", "KEY": "", "TOKEN": "t"}) == ["KEY"]
    assert unset_references(TARGET, {"HOST": "h", "KEY": "k", "TOKEN": "t"}) == []


def test_resolving() -> None:
    assert resolved("Bearer ${TOKEN}-${A}", {"TOKEN": "x", "A": "${TOKEN}"}) == "Bearer x-${TOKEN}"
    with pytest.raises(KeyError):
        resolved("${TOKEN}", {})
