"""The live page beside a run by hand: whose answers count on a game day, and when."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
from dataclasses import replace
from urllib.parse import urlsplit

import click
import pytest

from stormgate.commands.common import live_runs
from stormgate.supervise.hands.walk import Console, PageAnswers, Rehearsed, StepNow

STEP = StepNow(1, 2, "cache", "crash us-east/cache for 5 s", "nothing is lost")


def at_console(words: str = "") -> Console:
    """A console at which somebody said these words, and then left."""
    read, write = os.pipe()
    os.write(write, words.encode())
    os.close(write)
    return Console(read)


def test_an_answer_counts_while_it_is_asked_for_and_once() -> None:
    answers = PageAnswers(at_console())
    acts = answers.acts()
    assert acts["go"]() == "nothing is asked now"
    answers.at(STEP)
    assert acts["go"]() == "nothing is asked now"
    answers.at(replace(STEP, asks="go?"))
    assert acts["go"]() == "go: cache"
    # Pressed again, or by a second viewer, before the day went on: not one for the next step.
    assert acts["skip"]() == "nothing is asked now"
    assert answers.poll() == "go"
    assert answers.poll() is None


def test_a_note_counts_at_any_step_and_at_none_before_the_first() -> None:
    answers = PageAnswers(at_console())
    assert answers.acts()["detected"]() == "the day is at no step"
    answers.at(STEP)
    answers.acts()["detected"]()
    answers.acts()["mitigated"]()
    assert [answers.poll(), answers.poll()] == ["note detected", "note mitigated"]


def test_the_console_is_heard_beside_the_page_and_may_be_gone() -> None:
    with pytest.raises(EOFError):
        at_console().poll()
    answers = PageAnswers(at_console("hold 30s\n"))
    assert answers.poll() == "hold 30s"
    assert answers.poll() is None, "with a page somebody may answer yet"


def test_a_rehearsal_has_no_buttons_and_waits_for_nobody() -> None:
    answers = PageAnswers(Rehearsed())
    answers.at(replace(STEP, asks="go?"))
    assert answers.acts() == {}
    assert answers.poll() == "go"
    shown = answers.shown()
    assert shown is not None
    assert shown["people"] is False


def test_the_page_is_told_the_step_and_has_its_buttons() -> None:
    answers = PageAnswers(at_console())
    runs = live_runs(0, answers.acts(), answers.shown)
    runs.server.start()
    try:
        answers.at(replace(STEP, asks="Is everybody\nlooking?"))
        assert answers.shown() == {
            "number": 1,
            "of": 2,
            "step": "cache",
            "does": "crash us-east/cache for 5 s",
            "says": "nothing is lost",
            "asks": "Is everybody looking?",
            "people": True,
        }
        at = urlsplit(runs.server.address)
        connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=10)
        connection.request("POST", f"/go?{at.query}", headers={"X-Stormgate": "live"})
        told = json.load(io.BytesIO(connection.getresponse().read()))
        connection.close()
        assert told == {"told": "go: cache"}
        assert answers.poll() == "go"
    finally:
        runs.close()


def test_a_port_that_is_taken_is_refused_with_a_fix() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(click.ClickException, match="another port, or 0") as refused:
            live_runs(taken.getsockname()[1])
        assert "--live: port" in str(refused.value)
