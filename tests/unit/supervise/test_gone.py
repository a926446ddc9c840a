"""When a target that somebody else runs is taken to be gone: never while it says anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from stormgate.model import Component, Population, Region, Target
from stormgate.net import httpserver
from stormgate.net.httpserver import HttpRequest, HttpResponse
from stormgate.supervise.children import free_port
from stormgate.supervise.hands.gone import DESERTED_S, Deserted, standing_lab


def target(port: int | None, provision: dict[str, object] | None = None) -> Target:
    return Target(
        name="t",
        regions=(Region(name="here", latitude=0, longitude=0),),
        populations=(Population(name="all", share=1, latitude=0, longitude=0),),
        components=(Component(name="switch", kind="switch", backend="command"),),
        status_url=None if port is None else f"http://127.0.0.1:{port}/status",
        provision=provision,
    )


@pytest.fixture(scope="module")
def answering() -> Iterator[int]:
    """A place that says how a target is: not whole, but there."""
    port, over = free_port(), threading.Event()
    ready = threading.Event()

    async def status(_: HttpRequest) -> HttpResponse:
        return HttpResponse(200, b'{"whole": false}')

    async def serve() -> None:
        async with httpserver.serving(status, port=port):
            ready.set()
            while not over.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield port
    over.set()
    thread.join()


def test_it_is_gone_when_nobody_is_served_nothing_stands_and_it_says_nothing() -> None:
    gone = Deserted(target(free_port()), lambda: False)
    assert gone.why(5, 0.0) is None
    assert gone.why(5, DESERTED_S - 0.1) is None
    assert "nobody was served for 15 s" in str(gone.why(5, DESERTED_S))


def test_one_good_answer_begins_the_time_anew() -> None:
    gone = Deserted(target(free_port()), lambda: False)
    gone.why(5, 0.0)
    assert gone.why(6, DESERTED_S) is None
    assert gone.why(6, 2 * DESERTED_S - 1) is None
    assert gone.why(6, 2 * DESERTED_S) is not None


def test_while_a_fault_of_ours_stands_that_may_be_why() -> None:
    stands = [True]
    gone = Deserted(target(free_port()), lambda: stands[0])
    gone.why(5, 0.0)
    assert gone.why(5, 100.0) is None
    stands.clear()
    stands.append(False)
    assert gone.why(5, 101.0) is None, "its users need their time, too"
    assert gone.why(5, 100.0 + DESERTED_S) is not None


def test_what_says_anything_is_there(answering: int) -> None:
    gone = Deserted(target(answering), lambda: False)
    gone.why(5, 0.0)
    assert gone.why(5, 100.0) is None


def test_without_a_place_that_says_how_it_is_nobody_can_tell() -> None:
    gone = Deserted(target(None), lambda: False)
    gone.why(5, 0.0)
    assert gone.why(5, 1000.0) is None


def test_a_target_of_somebodys_own_is_shared_and_never_written_off() -> None:
    shared, standing = standing_lab(target(free_port()))
    assert (shared.provision, standing) == (None, None)


def test_a_lab_is_shared_and_gone_with_all_its_processes() -> None:
    lab = target(free_port(), {"lab": {}})
    shared, standing = standing_lab(lab)
    assert shared.provision is None, "the run must not start another"
    assert standing is not None
    assert standing.target == lab
    assert standing.why_dead() is None, "its switch is no process that could be seen to be dead"
