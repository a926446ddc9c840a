"""The first failure of each kind is told with what was wanted and where it was asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stormgate.load import get, post
from stormgate.load.record.failures import MOST_KINDS, FirstFailures, expected
from stormgate.model import Outcome
from stormgate.net.origin import parse_origin


@pytest.mark.parametrize(
    ("statuses", "checked", "words"),
    [
        (None, False, "200-399"),
        ((200,), False, "200"),
        ((404, 200), False, "200, 404"),
        ((200, 201, 202, 204), False, "200-202, 204"),
        ((200,), True, "200 and a body that its check accepts"),
    ],
)
def test_what_was_wanted(statuses, checked: bool, words: str) -> None:
    assert expected(statuses, checked=checked) == words


def failed(request, status: int, outcome: Outcome = Outcome.BAD_STATUS):
    pool = SimpleNamespace(origin=parse_origin("http://127.0.0.1:8080/api"))
    return (
        SimpleNamespace(request=request, pool=pool),
        SimpleNamespace(outcome=outcome, status=status),
    )


def test_once_a_kind_and_never_a_query() -> None:
    told: list[dict] = []
    failures = FirstFailures()
    failures.note(*failed(get("/x"), 500))  # nobody listens yet
    failures.tell = told.append
    login = post("/login?token=s3cret", name="login", expect=(200, 201))
    for _ in range(3):
        failures.note(*failed(login, 401))
    failures.note(*failed(login, 0, Outcome.RESET))
    assert [row["outcome"] for row in told] == ["bad_status", "reset"]
    assert told[0] == {
        "route": "login",
        "outcome": "bad_status",
        "status": 401,
        "expected": "200-201",
        "url": "http://127.0.0.1:8080/api/login",
    }


def test_a_workload_whose_routes_all_differ_is_not_told_route_by_route() -> None:
    told: list[dict] = []
    failures = FirstFailures()
    failures.tell = told.append
    for n in range(MOST_KINDS + 10):
        failures.note(*failed(get(f"/{n}"), 500))
    assert len(told) == MOST_KINDS
