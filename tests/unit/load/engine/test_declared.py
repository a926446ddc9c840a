"""Declared steps make the rows that a generator of the same steps makes, over every transport."""

import pytest
from tests.unit.load.engine.differential import RETRIED, TRANSPORTS, ScriptedServer, play, played

from stormgate.load import Retry, choice, get, post, think
from stormgate.load.choice import drawn
from stormgate.load.schedule.shares import stream_key
from stormgate.load.steps import Steps

PATHS = ("ok", "large", "busy", "missing", "chunked", "early", "last", "cut", "gone", "moved")
LEAST_S, MOST_S = 0.001, 0.02
RETRY = Retry(2, on=RETRIED, next_edge=False)


def declared(path):
    """What begins declared flows; each says it when it has come to its end."""
    page = choice(path, "page")

    def begin_of(seed, number, flows, done):
        steps = Steps(
            "Reader",
            (
                get("/" + page, name=f"first {number}", timeout_s=60, expect=(200, 404)),
                think(LEAST_S, MOST_S),
                get("/" + page, name="again", timeout_s=60, retry=RETRY, redirects=1),
                think(0.002),
                post("/cookie", name="last", timeout_s=60, json={"page": page, "tags": [page, 1]}),
            ),
        )
        begin = steps.begin_for(stream_key(seed, "Reader", number))
        return limited(flows, done, lambda session, _turn: begin(session))

    return begin_of


def written(path):
    """The same, written as a generator."""
    page = choice(path, "page")

    def begin_of(seed, number, flows, done):
        key = stream_key(seed, "Reader", number)

        def flow(_session, turn):
            text = page.values[page.source.row(drawn(key, turn, 0))]
            yield get(f"/{text}", name=f"first {number}", timeout_s=60, expect=(200, 404))
            share = (drawn(key, turn, 2) >> 11) / 2**53
            yield think(LEAST_S + (MOST_S - LEAST_S) * share)
            yield get(f"/{text}", name="again", timeout_s=60, retry=RETRY, redirects=1)
            yield think(0.002)
            body = {"page": text, "tags": [text, 1]}
            yield post("/cookie", name="last", timeout_s=60, json=body)

        return limited(flows, done, flow)

    return begin_of


def limited(flows, done, flow):
    count = iter(range(flows))

    def begin(session):
        turn = next(count, None)
        if turn is not None:
            yield from flow(session, turn)
            done.append(turn)

    return begin


def by_place(found):
    """All rows, and when the flows of each stream were meant to start since its first: whatever
    order they came back in.
    """
    keys = ("population", "route", "op", "attempt", "outcome", "status", "bytes_in")
    rows = sorted((*(row[key] for key in keys), row["sent_ns"] is None) for row in found)
    plan = {}
    for row in found:
        if row["route"].startswith("first"):
            plan.setdefault(row["route"], []).append(row["intended_ns"])
    for times in plan.values():
        times.sort()
    return rows, {route: [at - times[0] for at in times] for route, times in plan.items()}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pages.csv"
    path.write_text("page\n" + "\n".join(PATHS) + "\n")
    return path


@pytest.fixture(scope="module")
def oracle(pages):
    return play(played, 80, begin_of=written(pages), told=by_place, flows=8)


@pytest.mark.parametrize("name", ["played", *TRANSPORTS])
def test_declared_steps_make_the_rows_of_the_generator(name, pages, oracle):
    rows, plan, totals = oracle
    with ScriptedServer() as server:
        make = TRANSPORTS.get(name, played)
        own = play(make, server.port, begin_of=declared(pages), told=by_place, flows=8)
    assert own[1] == plan, "the same seed, the same arrivals"
    assert own[0] == rows
    assert {**own[2], "new_connections": 0} == {**totals, "new_connections": 0}


def test_the_plan_draws_every_page_and_retries(oracle):
    """Else less was compared than it seems."""
    rows, _, totals = oracle
    assert {row[4] for row in rows} >= {"ok", "bad_status", "reset"}
    assert max(row[3] for row in rows) == 2
    assert totals["planned"] >= 6 * 8 * 3
