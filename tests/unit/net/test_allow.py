"""One reading of `allow`, whoever asks."""

from __future__ import annotations

import socket

import pytest

from stormgate.net.allow import AllowList, NotAllowedError


@pytest.mark.parametrize(
    ("host", "allow", "yes"),
    [
        ("127.0.0.1", ["127.0.0.0/8"], True),
        ("127.0.0.2", ["127.0.0.1/32"], False),
        ("localhost", ["127.0.0.0/8"], True),
        ("LocalHost.", ["::1/128"], True),
        ("localhost", ["10.0.0.0/8"], False),
        ("::1", ["::1/128"], True),
        ("[::1]", ["::1/128"], True),
        ("10.0.0.1", ["127.0.0.0/8"], False),
        ("db.example", ["127.0.0.0/8"], False),
        ("db.example.com", ["DB.example.com"], True),
        ("DB.Example.com.", ["db.example.com"], True),
        ("db.example.com.evil", ["db.example.com"], False),
        ("", ["127.0.0.0/8"], False),
    ],
)
def test_only_listed_hosts_may_be_contacted(host: str, allow: list[str], yes: bool) -> None:
    assert AllowList(allow).permits_host(host) is yes


def test_of_several_addresses_only_those_allowed_are_taken() -> None:
    answers = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 80, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)),
    ]
    assert AllowList(["127.0.0.0/8"]).choose("x", answers) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert len(AllowList(["X."]).choose("x", answers)) == 2
    with pytest.raises(NotAllowedError, match=r"x \(::1, 127.0.0.1\) is not in"):
        AllowList(["10.0.0.0/8"]).choose("x", answers)
