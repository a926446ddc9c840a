"""Streams have one owner each, however workers come and go."""

from types import SimpleNamespace

import gevent
from hypothesis import given
from hypothesis import strategies as st

from stormgate.load.locust.deal import Seats, SharedDealer, Table
from stormgate.load.schedule.positions import Positions
from stormgate.load.schedule.shares import Dealer

STEPS = st.lists(
    st.tuples(st.sampled_from(("take", "give", "lost")), st.sampled_from("abc"), st.integers(0, 9))
)


@given(STEPS)
def test_a_position_has_one_owner_and_the_lowest_free_one_goes_first(steps):
    positions, mine = Positions(), {}
    for what, owner, number in steps:
        if what == "take":
            taken = positions.take("Reader", owner)
            assert taken == min(set(range(len(mine) + 1)) - set(mine))
            mine[taken] = owner
        elif what == "give":
            assert positions.give_back("Reader", owner, number) == (mine.get(number) == owner)
            mine = {k: v for k, v in mine.items() if (k, v) != (number, owner)}
        else:
            assert positions.lost(owner) == list(mine.values()).count(owner)
            mine = {k: v for k, v in mine.items() if v != owner}
        assert positions.held("Reader") == len(mine)
        assert positions.owners() == set(mine.values())
    assert positions.take("Writer", "a") == 0  # each class has a deal of its own


class Wires:
    """A master and its workers, whose messages arrive at once."""

    def __init__(self, users):
        self.handlers = {}
        self.clients = {}
        self.target_user_classes_count = {"Reader": users}
        self.events = SimpleNamespace(test_start=SimpleNamespace(add_listener=self._on_start))
        self.runner = self
        self.table = Table(self)

    def _on_start(self, listener):
        self.started = listener

    def register_message(self, name, handler):
        self.handlers[name] = handler

    def send_message(self, name, data, client):
        self.clients[client].handlers[name](msg=SimpleNamespace(data=data))

    def worker(self, name):
        worker = SimpleNamespace(handlers={}, state="running")
        worker.register_message = worker.handlers.__setitem__
        worker.send_message = lambda kind, data: self.handlers[kind](
            msg=SimpleNamespace(data=data, node_id=name)
        )
        self.clients[name] = worker
        return SharedDealer({"x": 0.5, "y": 0.5}, "Reader", Seats(worker))


def test_who_joins_late_takes_over_what_others_give_up():
    wires = Wires(users=4)
    first, second = wires.worker("first"), wires.worker("second")
    held = [first.take() for _ in range(4)]
    alone = Dealer({"x": 0.5, "y": 0.5})
    assert held == [alone.take() for _ in range(4)]
    # Locust moves two of the four: both sides are told at once, the gain asks first.
    taken = [gevent.spawn(second.take) for _ in range(2)]
    gevent.sleep(0.01)
    assert not any(one.ready() for one in taken)
    for position, _ in held[1:3]:
        first.give_back(position)
    gevent.joinall(taken, timeout=5)
    assert [one.value for one in taken] == held[1:3]


def test_more_users_need_not_wait_until_they_were_asked_for():
    wires = Wires(users=1)
    first = wires.worker("first")
    assert first.take()[0] == 0
    more = gevent.spawn(first.take)
    gevent.sleep(0.01)
    wires.target_user_classes_count = {"Reader": 2}
    more.join(timeout=5)
    assert more.value[0] == 1


def test_what_a_lost_worker_held_is_dealt_again():
    wires = Wires(users=2)
    lost, other = wires.worker("lost"), wires.worker("other")
    assert [lost.take()[0], lost.take()[0]] == [0, 1]
    wires.clients["lost"].state = "missing"
    assert other.take()[0] == 0
    del wires.clients["lost"]
    assert other.take()[0] == 1


def test_a_new_test_deals_from_the_beginning():
    wires = Wires(users=1)
    worker = wires.worker("worker")
    assert worker.take()[0] == 0
    wires.started()
    assert worker.take()[0] == 0
    worker.give_back(7)  # of an earlier test: nobody's
    assert wires.table._positions.held("Reader") == 1


def test_a_user_stopped_while_it_waits_keeps_no_position():
    wires = Wires(users=1)
    worker = wires.worker("worker")
    assert worker.take()[0] == 0
    waiting = gevent.spawn(worker.take)
    gevent.sleep(0.01)
    waiting.kill()
    worker.give_back(0)
    assert wires.table._positions.held("Reader") == 0
    assert not wires.table._waiting
