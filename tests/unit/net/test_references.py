"""Secrets are references until the one request that needs them."""

from __future__ import annotations

import json

import pytest

from stormgate.model import Component, Population, Steering, Target, to_json
from stormgate.net.references import resolved, unset_references, with_secrets

TARGET = Target(
    name="t",
    status_url="https://${HOST}/status",
    populations=(
        Population(
            name="p",
            share=1,
            latitude=0,
            longitude=0,
            headers={"Authorization": "Bearer ${TOKEN}", "x": "$PLAIN"},
        ),
    ),
    components=(
        Component(
            name="c",
            kind="x",
            backend="command",
            handle={"apply": {"crash": ["kill.sh", "${KEY}", "${KEY}"]}},
        ),
    ),
)


def test_what_is_not_set_is_named() -> None:
    assert unset_references(TARGET, {}) == ["HOST", "KEY", "TOKEN"]
    assert unset_references(TARGET, {"HOST": "h", "KEY": "", "TOKEN": "t"}) == ["KEY"]
    assert unset_references(TARGET, {"HOST": "h", "KEY": "k", "TOKEN": "t"}) == []


def test_resolving() -> None:
    assert resolved("Bearer ${TOKEN}-${A}", {"TOKEN": "x", "A": "${TOKEN}"}) == "Bearer x-${TOKEN}"
    with pytest.raises(KeyError):
        resolved("${TOKEN}", {})


def test_only_what_is_sent_is_filled_in_and_the_plan_keeps_the_reference() -> None:
    target = Target(
        name="t",
        populations=(
            Population(
                name="all",
                share=1,
                latitude=0,
                longitude=0,
                edges=("e",),
                links={"e": "http://${HOST}:80"},
                headers={"authorization": "Bearer ${TOKEN}"},
                labels={"country": "${HOST}"},
            ),
        ),
        steering=Steering(mode="table", url="http://${HOST}/steering"),
    )
    filled = with_secrets(target, {"HOST": "127.0.0.1", "TOKEN": "secret"})
    assert filled.populations[0].links == {"e": "http://127.0.0.1:80"}
    assert filled.populations[0].headers == {"authorization": "Bearer secret"}
    assert filled.steering.url == "http://127.0.0.1/steering"
    assert filled.populations[0].labels == {"country": "${HOST}"}  # labels go into evidence
    assert "secret" not in json.dumps(to_json(target))
