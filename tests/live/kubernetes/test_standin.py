"""The stand-in is worth something only where it answers as the real API server does."""

from __future__ import annotations

import http.client
import json

import pytest
from tests.live.kubernetes.conversation import LIMITED, converse, knocking, recorded
from tests.live.kubernetes.standin import HOST, TOKEN

pytestmark = pytest.mark.live


def test_it_says_what_the_real_one_was_recorded_to_say(here):
    here.world.rules[LIMITED] = set()
    here.world.users[LIMITED] = "limited"

    def call(method, path, body=None, *, token="", kind="application/json"):
        connection = http.client.HTTPConnection(HOST, here.port, timeout=10)
        headers = {"Authorization": f"Bearer {token or TOKEN}", "Content-Type": kind}
        connection.request(
            method, "/" + path, json.dumps(body) if body is not None else None, headers
        )
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    def knock(path, token):
        return knocking(http.client.HTTPConnection(HOST, here.port, timeout=10), path,
                        token or TOKEN)  # fmt: skip

    assert converse(call, knock) == recorded()
