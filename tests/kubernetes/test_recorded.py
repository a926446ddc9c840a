"""What the stand-in of the fast tests is held to is what the real API server says."""

from __future__ import annotations

import json
import os

import pytest
from tests.live.kubernetes.conversation import RECORDED, converse, recorded

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes]


def test_the_real_api_server_answers_as_recorded(plane):
    """STORMGATE_RECORD=1 writes the recording anew."""
    said = converse(plane.call)
    if os.environ.get("STORMGATE_RECORD") == "1":
        RECORDED.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
    assert said == recorded()
