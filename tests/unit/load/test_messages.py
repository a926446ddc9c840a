"""Evidence over messages: nothing lost, nothing twice, nothing out of order. And the clock between
two machines.
"""

import random

import pytest

from stormgate.load.record.relay import RESEND_S, Inbox, Outbox, best_offset


class Link:
    """Carries messages and confirmations, losing some of each."""

    def __init__(self, loss, seed):
        self.random = random.Random(seed)
        self.loss = loss
        self.now = 0.0
        self.inbox = Inbox()
        self.used = []
        self.outbox = Outbox(self.send, lambda: self.now)

    def send(self, number, message):
        if self.random.random() < self.loss:
            return
        if self.inbox.take(number):
            self.used.append(message)
        if self.random.random() >= self.loss:
            # A confirmation of what came while the outbox walks its list, as when the hub switches
            # inside a send.
            self.outbox.confirmed(self.inbox.last)


@pytest.mark.parametrize("seed", range(20))
def test_everything_arrives_once_and_in_order(seed):
    link = Link(loss=0.4, seed=seed)
    for number in range(50):
        link.outbox.put({"n": number})
        link.now += 0.1
        link.outbox.resend()
    for _ in range(2000):
        link.now += RESEND_S + 0.1
        link.outbox.resend()
        if not len(link.outbox):
            break
    assert [message["n"] for message in link.used] == list(range(50))
    assert len(link.outbox) == 0


def test_nothing_is_sent_again_before_its_time():
    sent = []
    now = [0.0]
    outbox = Outbox(lambda number, _message: sent.append(number), lambda: now[0])
    outbox.put({})
    now[0] = RESEND_S - 0.1
    outbox.resend()
    assert sent == [0]
    now[0] = RESEND_S + 0.1
    outbox.resend()
    outbox.resend()
    assert sent == [0, 0]


def test_the_shortest_exchange_decides_the_clock():
    clock = best_offset(
        [(0, 1_000_500, 100_000), (200_000, 1_200_350, 200_700), (300_000, 1_400_000, 900_000)]
    )
    assert clock.offset_ns == 1_000_000
    assert clock.error_ns == 350
