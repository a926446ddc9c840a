"""Orders for more load: what stands of them, what they must be like, and what generator truth says
of their effect.
"""

import json
import threading
import time

import pytest

from stormgate.evidence.write import GENERATOR, SURGE
from stormgate.faults.backends import FaultRequest
from stormgate.faults.backends.load import BACKEND
from stormgate.faults.errors import CannotBreak
from stormgate.faults.expansion import parts_of
from stormgate.load.schedule.surge import EVERYONE, Orders
from stormgate.model import Component, Population, Target

S = 1_000_000_000
LOAD = Component(name="load", kind="load", backend="load")


def append(path, *rows):
    with path.open("ab") as file:
        for row in rows:
            file.write(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n")


def begin(name, factor, until_s, population=None):
    return {
        "id": name,
        "at_ns": 0,
        "factor": factor,
        "population": population,
        "until_ns": until_s * S,
    }


def test_orders_stand_until_they_are_ended_or_over(tmp_path):
    orders = Orders(tmp_path / SURGE)
    assert orders.standing(0) == {}
    append(tmp_path / SURGE, begin("a", 3, 10), begin("b", 2, 20), begin("c", 5, 10, "london"))
    assert orders.standing(1 * S) == {EVERYONE: 6.0, "london": 5.0}
    append(
        tmp_path / SURGE,
        {"id": "b", "end": True},
        {"id": "b", "end": True},
        {"id": "unknown", "end": True},
    )
    assert orders.standing(2 * S) == {EVERYONE: 3.0, "london": 5.0}
    assert orders.standing(10 * S) == {}
    append(tmp_path / SURGE, begin("d", 2, 5))  # late: it is over before it was read
    assert orders.standing(11 * S) == {}


def test_rows_are_taken_when_whole_and_only_if_they_make_sense(tmp_path):
    orders = Orders(tmp_path / SURGE)
    whole = json.dumps(begin("a", 3, 10)).encode() + b"\n"
    append(tmp_path / SURGE, whole[:20])
    assert orders.standing(0) == {}
    append(tmp_path / SURGE, whole[20:])
    assert orders.standing(0) == {EVERYONE: 3.0}
    append(
        tmp_path / SURGE,
        b"not json\n",
        b"[1]\n",
        {"id": "x"},
        begin("y", 0, 10),
        begin("z", -2, 10),
        begin("w", "much", 10),
    )
    assert orders.standing(0) == {EVERYONE: 3.0}


def target():
    people = (("london", 0.75), ("oslo", 0.05), ("rome", 0.2))
    return Target(
        name="t",
        populations=tuple(Population(name=n, share=s, latitude=0, longitude=0) for n, s in people),
    )


def request(folder, factor=3.0, population=None, for_s=60.0):
    params = {"factor": factor, "population": population, "for_s": for_s, "folder": str(folder)}
    return FaultRequest(part=LOAD, mode="surge", params=params, token="tok", target=target())


def seconds(folder, *rows, ago_s=0.0):
    """Rows of generator truth: (worker, planned), each of the second that ended `ago_s` ago."""
    at_ns = time.monotonic_ns() - int(ago_s * S)
    more = {"window_s": 1.0, "model": "open", "final": False}
    append(
        folder / GENERATOR,
        *(
            {"at_ns": at_ns, "worker": worker, "planned": planned, **more}
            for worker, planned in rows
        ),
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"factor": 1.0}, "a factor above 1"),
        ({"for_s": 0.0}, "a time above 0"),
        ({"population": "paris"}, "no population 'paris' in target 't'; it has london, oslo, rome"),
        ({"population": "oslo"}, r"a factor of 5\.0 would be"),
    ],
)
def test_a_surge_nobody_could_see_is_refused(tmp_path, more, message):
    seconds(tmp_path, ("w", 100))
    with pytest.raises(CannotBreak, match=message):
        BACKEND.plan(request(tmp_path, **more))


@pytest.mark.parametrize("ago_s", [None, 60.0])
def test_without_a_running_load_there_is_nothing_to_multiply(tmp_path, ago_s):
    if ago_s is not None:
        seconds(tmp_path, ("w", 100), ago_s=ago_s)
    with pytest.raises(CannotBreak, match="no open-loop load is running"):
        BACKEND.plan(request(tmp_path))


def test_its_effect_is_what_every_worker_plans_in_whole_seconds_since(tmp_path):
    seconds(tmp_path, ("w0", 100), ("w1", 100))
    record = dict(BACKEND.plan(request(tmp_path)))
    assert (record["before_per_s"], record["seen_from_per_s"]) == (200.0, 400.0)
    BACKEND.apply(LOAD, record, threading.Event())
    assert not BACKEND.in_effect(LOAD, record).seen  # the seconds before say nothing
    later = -1.5
    seconds(tmp_path, ("w0", 300), ago_s=later)
    assert not BACKEND.in_effect(LOAD, record).seen  # one worker has not spoken yet
    seconds(tmp_path, ("w1", 90), ago_s=later)
    assert not BACKEND.in_effect(LOAD, record).seen
    seconds(tmp_path, ("w1", 290), ago_s=later)
    assert BACKEND.in_effect(LOAD, record).seen
    assert not BACKEND.is_whole(LOAD, record).seen
    BACKEND.undo(LOAD, record, 1.0)
    BACKEND.undo(LOAD, record, 1.0)
    assert Orders(tmp_path / SURGE).standing(time.monotonic_ns()) == {}
    seconds(tmp_path, ("w0", 100), ("w1", 110), ago_s=later)
    assert BACKEND.is_whole(LOAD, record).seen


def test_a_surge_is_gone_when_its_load_is(tmp_path):
    seconds(tmp_path, ("w0", 100))
    record = dict(BACKEND.plan(request(tmp_path)))
    (tmp_path / GENERATOR).write_bytes(b"")
    assert BACKEND.is_whole(LOAD, record).seen
    BACKEND.undo(LOAD, record | {"folder": str(tmp_path / "gone")}, 1.0)


def test_only_the_load_surges():
    with pytest.raises(CannotBreak, match="only the load surges"):
        parts_of(target(), Component(name="edge", kind="edge", backend="process"), "surge")
    with pytest.raises(CannotBreak, match="only the load surges"):
        parts_of(target(), LOAD, "crash")
    assert [part.mode for part in parts_of(target(), LOAD, "surge")] == ["surge"]
