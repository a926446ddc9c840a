"""What the stand-in of the fast tests is held to is what the real API server says."""

from __future__ import annotations

import http.client
import json
import os
import ssl

import pytest
from tests.kubernetes.plane import HOST
from tests.live.kubernetes.conversation import RECORDED, converse, knocking, recorded

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes]


def test_the_real_api_server_answers_as_recorded(plane):
    """STORMGATE_RECORD=1 writes the recording anew."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def knock(path, token):
        connection = http.client.HTTPSConnection(HOST, plane.port, timeout=10, context=context)
        return knocking(connection, path, token or plane.token)

    said = converse(plane.call, knock)
    if os.environ.get("STORMGATE_RECORD") == "1":
        RECORDED.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
    assert said == recorded()
