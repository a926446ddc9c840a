"""Which address a connection tries first, and what comes after."""

import collections
import socket
import ssl

import pytest

from stormgate.load.http.addresses import Addresses, Race, spelt
from stormgate.load.http.connection import tls_trouble
from stormgate.model import Outcome

V4, V6 = socket.AF_INET, socket.AF_INET6


def four(number):
    return (V4, (f"127.0.0.{number}", 80))


def six(number):
    return (V6, (f"fd00::{number}", 80, 0, 0))


def test_none_and_one():
    assert not Addresses()
    assert Addresses().order() == []
    assert [Addresses([four(1), four(1)]).order() for _ in range(2)] == [[four(1)]] * 2


@pytest.mark.parametrize("count", [2, 3, 5])
def test_connections_begin_with_each_in_turn_and_try_all(count):
    every = [four(number) for number in range(count)]
    addresses = Addresses(every)
    orders = [addresses.order() for _ in range(count * (count - 1))]
    assert all(sorted(order) == sorted(every) for order in orders)
    assert collections.Counter(order[0] for order in orders) == dict.fromkeys(every, count - 1)


def test_a_dead_ones_share_is_spread_over_the_others():
    addresses = Addresses([four(1), four(2), four(3)])
    taken = collections.Counter(
        next(one for one in addresses.order() if one != four(1)) for _ in range(60)
    )
    assert taken == {four(2): 30, four(3): 30}


def test_families_take_turns():
    addresses = Addresses([six(1), six(2), four(1), four(2)])
    assert addresses.all == (six(1), four(1), six(2), four(2))


def test_the_order_of_an_answer_changes_nothing():
    assert Addresses([four(1), four(2)]) == Addresses([four(2), four(1)])
    assert Addresses([four(1)]) != Addresses([four(2)])
    assert Addresses([four(1)]) != [four(1)]


def test_all_have_their_turn_within_the_deadline():
    long, short = (Race([four(1), four(2)], limit) for limit in (10_000_000_000, 300_000_000))
    assert (long.delay_ns, short.delay_ns) == (250_000_000, 100_000_000)
    assert not long.waits_too_long(250_000_000)
    assert long.waits_too_long(250_000_001)
    assert not Race([], 10_000_000_000).waits_too_long(10_000_000_000)


def test_what_a_target_did_says_more_than_what_could_not_be_tried():
    race = Race([four(1)], 1)
    assert race.lost(Outcome.NOT_SENT) is Outcome.NOT_SENT
    assert race.lost(Outcome.REFUSED) is Outcome.REFUSED
    assert race.lost(Outcome.NOT_SENT) is Outcome.REFUSED


def test_addresses_are_spelt_as_people_write_them():
    assert (spelt(four(1)), spelt(six(1))) == ("127.0.0.1:80", "[fd00::1]:80")


def test_reasons_of_tls_are_words():
    assert tls_trouble(ssl.SSLError(1, "[SSL: X] y (_ssl.c:1)")) == "[SSL: X] y (_ssl.c:1)"
    told = ssl.SSLError(1, "x")
    told.reason = "WRONG_VERSION_NUMBER"
    assert tls_trouble(told) == "wrong version number"
    certificate = ssl.SSLCertVerificationError(1, "x")
    certificate.verify_message = "self-signed certificate"
    assert tls_trouble(certificate) == "self-signed certificate"
