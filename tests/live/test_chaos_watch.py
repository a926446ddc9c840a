"""Who uses what is broken, and whether it stays broken: real processes and links, and somebody who
restarts what was killed.
"""

import http.client
import os
import subprocess
import threading

import pytest
from tests.live.chaos_fixture import ROOT, wait_until, world

from stormgate.evidence.timeline import fault_windows
from stormgate.faults.inject import inject
from stormgate.faults.looks.watch import EVERY_S, in_effect
from stormgate.faults.undo import undo_all
from stormgate.model import Fault

pytestmark = pytest.mark.live

LINK = "link:a/edge->b/service"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("xdg"))
    with world(tmp_path_factory.mktemp("watched")) as made:
        yield made
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture
def here(made):
    (made.folder / "timeline.ndjson").unlink(missing_ok=True)
    yield made
    undo_all(made.context())


def start(here, name):
    """What a supervisor would do; back when the component answers."""
    argv = here.target.component(name).handle["start"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    subprocess.run(argv, check=True, timeout=60, env=env)


def window(here):
    fault = Fault(name="trial", experiment="x.yaml", recovery_s=1)
    return fault_windows(here.timeline(), [], [fault])[0]


@pytest.mark.parametrize("heals", [False, True])
def test_a_supervisor_that_restarts_what_was_killed(here, heals):
    context = here.context()
    inject(context, [here.target.component("a/edge")], "crash", heals=heals)
    before = here.pid("a/edge")
    start(here, "a/edge")
    assert here.pid("a/edge") != before
    wait_until(lambda: "fault.lost" in here.events())
    rows = {row["event"]: row for row in here.timeline()}
    lost = rows["fault.lost"]
    assert (lost["fault"], lost["component"], lost["part"]) == ("trial", "a/edge", "a/edge")
    assert "runs in place of" in lost["saw"]
    assert rows["fault.observed"]["at_ns"] <= lost["last_seen_ns"] <= lost["at_ns"]
    escaped = window(here).escaped
    assert escaped is None if heals else escaped.startswith("escaped after ")
    undo_all(context)
    assert here.events().count("fault.lost") == 1


def test_a_link_that_somebody_mended(here):
    context = here.context()
    inject(context, [here.target.component(LINK)], "blackhole")
    proxy = here.target.component(LINK).handle["proxy"]
    for toxic in here.client.get(proxy).toxics:
        here.client.ensure_no_toxic(proxy, toxic.name)
    wait_until(lambda: "fault.lost" in here.events())
    assert window(here).escaped is not None
    assert not window(here).proven


@pytest.mark.parametrize(
    ("name", "mode", "params"),
    [
        ("a/edge", "crash", {}),
        ("a/edge", "freeze", {}),
        ("a", "crash", {}),
        (LINK, "refuse", {}),
        (LINK, "blackhole", {}),
        (LINK, "slow", {"latency_ms": 300}),
        (LINK, "bandwidth", {"rate_kb_per_s": 100}),
        (LINK, "lossy", {"share": 0.5}),
    ],
)
def test_what_holds_is_looked_at_and_not_lost(here, monkeypatch, name, mode, params):
    context, looks = here.context(), []

    def counted(entry):
        looks.append(entry.part.name)
        return in_effect(entry)

    context.watch.look = counted
    inject(context, [here.target.component(name)], mode, params)
    parts = next(r["parts"] for r in here.timeline() if r["event"] == "fault.requested")
    wait_until(lambda: all(looks.count(part) >= 4 for part in parts))
    undo_all(context)
    seen = len(looks)
    threading.Event().wait(3 * EVERY_S)
    assert len(looks) == seen, "what is taken back is looked at no more"
    assert "fault.lost" not in here.events()
    assert window(here).escaped is None


def exposure(here):
    return next(r["exposure"] for r in here.timeline() if r["event"] == "fault.requested")


def test_a_proxy_that_no_traffic_goes_through(here):
    """The service is used, and the way that is broken is not."""
    service = http.client.HTTPConnection("127.0.0.1", here.ports["b/service"], timeout=10)
    service.request("GET", "/healthz")
    assert service.getresponse().read()
    inject(here.context(), [here.target.component(LINK)], "slow", {"latency_ms": 300})
    assert exposure(here)["used"] is False
    service.request("GET", "/healthz")
    assert service.getresponse().read()
    service.close()


def test_a_proxy_that_traffic_goes_through(here):
    address = here.client.get(here.target.component(LINK).handle["proxy"]).listen
    host, _, port = address.rpartition(":")
    user = http.client.HTTPConnection(host, int(port), timeout=10)
    user.request("GET", "/healthz")
    assert user.getresponse().read()
    inject(here.context(), [here.target.component(LINK)], "slow", {"latency_ms": 300})
    assert exposure(here) == {"used": True, "saw": f"{LINK}: a connection to {address}"}
    user.close()


def test_a_process_whose_users_come_and_go(here):
    """One request after the other, each with a connection of its own."""
    over, served = threading.Event(), []

    def users():
        while not over.is_set():
            one = http.client.HTTPConnection("127.0.0.1", here.ports["a/edge"], timeout=10)
            try:
                one.request("GET", "/healthz")
                one.getresponse().read()
                served.append(1)
            except OSError:
                pass
            finally:
                one.close()
            over.wait(0.05)

    thread = threading.Thread(target=users)
    thread.start()
    try:
        wait_until(lambda: len(served) > 3)
        inject(here.context(), [here.target.component("a/edge")], "freeze")
    finally:
        over.set()
    assert exposure(here)["used"] is True
    undo_all(here.context())
    thread.join()
