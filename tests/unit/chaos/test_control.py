"""What the control tells of an activity that has ended."""

import json
from types import SimpleNamespace

import pytest

from stormgate.chaos import control
from stormgate.evidence.write import TIMELINE, Timeline


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"status": "succeeded"}, None),
        (
            {"status": "failed", "exception": ["Traceback\n", "  File x\n", "OSError: no such\n"]},
            "OSError: no such",
        ),
        ({"status": "failed"}, "it failed"),
    ],
)
def test_an_activity_that_fails_is_in_the_timeline_at_once(tmp_path, monkeypatch, state, why):
    context = SimpleNamespace(timeline=Timeline(tmp_path), fault="web-loss")
    monkeypatch.setattr(control, "_session", SimpleNamespace(context=context))
    control.after_activity_control({"type": "action", "name": "kill-it"}, state)
    file = tmp_path / TIMELINE
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    told = [(row["event"], row["fault"], row["activity"], row["why"]) for row in rows]
    assert told == ([("chaos.failed", "web-loss", "kill-it", why)] if why else [])
