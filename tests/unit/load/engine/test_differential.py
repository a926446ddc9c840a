"""Every transport makes the same rows of the same plan."""

import pytest
from tests.unit.load.engine.differential import SCRIPT, TRANSPORTS, ScriptedServer, play, played
from tests.unit.load.engine.tls_bench import certificate, server_context

from stormgate.load.http.tls import client_context
from stormgate.model import Outcome


@pytest.fixture(scope="module")
def oracle():
    return play(played, 80)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.mark.parametrize("is_secured", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", TRANSPORTS)
def test_the_same_plan_makes_the_same_rows(name, is_secured, oracle, files):
    """Under TLS as without: nothing of it is seen from outside."""
    rows, plan, totals = oracle
    server_side = server_context(files) if is_secured else None
    client_side = client_context(str(files[0])) if is_secured else None
    with ScriptedServer(server_side) as server:
        found = play(TRANSPORTS[name], server.port, context=client_side)
        own_rows, own_plan, own_totals = found
        written = sum(not row[-1] for attempts in own_rows.values() for row in attempts)
        assert server.requests == written, "what has a sent_ns was sent, once"
    assert own_plan == plan, "the same seed, the same arrivals"
    assert own_rows == rows
    own_totals.pop("new_connections")
    assert own_totals == {k: v for k, v in totals.items() if k != "new_connections"}


def test_the_plan_has_every_kind_of_end_in_it(oracle):
    """Else a transport would be held to less than it seems."""
    rows, _, totals = oracle
    outcomes = {row[3] for attempts in rows.values() for row in attempts}
    scripted = {end.value for *_, end in SCRIPT.values() if isinstance(end, Outcome)}
    assert outcomes >= scripted | {"ok", "bad_status", "wrong_body", "refused"}
    assert max(row[2] for attempts in rows.values() for row in attempts) == 3
    assert totals["planned"] > 100
