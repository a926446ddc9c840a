"""Real faults on real processes and links: applied, proven from outside, undone, seen to be
undone.
"""

import os
import signal
import socket
import threading
import time
import urllib.request

import pytest
from tests.live.chaos_fixture import wait_until, world

from stormgate.faults import backends
from stormgate.faults.errors import (
    CannotBreak,
    EmptySelection,
    NotWhole,
    Stopped,
    UndoFailed,
    Unproven,
)
from stormgate.faults.expansion import cut_between
from stormgate.faults.inject import inject
from stormgate.faults.ledger import open_entries
from stormgate.faults.undo import undo_all
from stormgate.model import Component, Observe
from stormgate.net import look as observe
from stormgate.system import processes
from stormgate.toxiproxy.server import embedded_choice

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def state_home(tmp_path_factory):
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("xdg"))
    yield
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="module")
def usual(tmp_path_factory, state_home):
    with world(tmp_path_factory.mktemp("usual")) as made:
        yield made


@pytest.fixture(scope="module")
def embedded(tmp_path_factory, state_home):
    with world(tmp_path_factory.mktemp("embedded"), server=embedded_choice()) as made:
        yield made


def left_whole(made):
    """The shared world, whole before and after each test."""
    (made.folder / "timeline.ndjson").unlink(missing_ok=True)
    yield made
    undo_all(made.context())
    assert wait_until(lambda: status(made)["whole"]), status(made)
    assert [p.name for p in made.client.proxies().values() if not p.enabled or p.toxics] == []


@pytest.fixture
def here(usual):
    yield from left_whole(usual)


@pytest.fixture(params=["usual", "embedded"])
def either(request):
    """With the Toxiproxy server this machine has, and with the embedded one."""
    yield from left_whole(request.getfixturevalue(request.param))


def status(world):
    import json

    with urllib.request.urlopen(world.target.status_url, timeout=5) as answer:
        return json.loads(answer.read())


def broken(world, name, mode, **params):
    context = world.context()
    rows = inject(context, [world.target.component(name)], mode, params)
    assert [row["component"] for row in rows] == [name]
    return context


def look(world, name, timeout_s=0.3):
    return observe.look(world.target.component(name).observe, timeout_s).state


FOUR = ["fault.requested", "fault.acknowledged", "fault.observed", "fault.cleared"]


def test_crash_kills_the_whole_tree_and_start_brings_it_back(here):
    pid, child = here.pid("a/service"), here.child("a/service")
    child_ticks = processes.pid_start_ticks(child)
    context = broken(here, "a/service", "crash")
    assert look(here, "a/service") == observe.State.REFUSED
    assert not processes.alive(*pid)
    assert not processes.alive(child, child_ticks), "a child that lives on would serve on"
    assert undo_all(context) == ["a/service (crash)"]
    assert look(here, "a/service", 2) == observe.State.ANSWERS
    assert here.pid("a/service") != pid
    assert here.events() == FOUR
    assert undo_all(context) == []


def test_a_crash_is_not_seen_while_a_child_lives(here):
    part, backend = here.target.component("a/service"), backends.get("process")
    asked = backends.FaultRequest(part=part, mode="crash", params={}, token="t", target=here.target)
    record = backend.plan(asked)
    child = here.child("a/service")
    assert [child, processes.pid_start_ticks(child)] in record["tree"]
    # As if the root alone were gone: one that started a tick later is not the one recorded.
    root_gone = [[pid, ticks + (pid != child)] for pid, ticks in record["tree"]]
    seen = backend.in_effect(part, record | {"tree": root_gone})
    assert not seen.seen
    assert seen.saw == f"process {child} lives"


def test_freeze_stops_the_whole_tree_and_nothing_answers(here):
    pid, child = here.pid("a/service"), here.child("a/service")
    context = broken(here, "a/service", "freeze")
    assert look(here, "a/service") == observe.State.SILENT
    assert state_letter(child) == "T"
    undo_all(context)
    assert look(here, "a/service", 2) == observe.State.ANSWERS
    assert here.pid("a/service") == pid, "a frozen process is woken, not replaced"
    assert state_letter(child) != "T"


def state_letter(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_a_frozen_process_that_was_killed_meanwhile_is_started(here):
    pid = here.pid("a/edge")
    context = broken(here, "a/edge", "freeze")
    processes.signal_if_same(*pid, signal.SIGKILL)
    undo_all(context)
    assert look(here, "a/edge", 2) == observe.State.ANSWERS


LINK = "link:a/edge->b/service"


def through(world, name=LINK, timeout_s=0.5):
    link = world.target.component(name)
    template = world.target.component(link.attributes["destination"]).observe
    return observe.look(
        Observe(protocol=template.protocol, address=link.observe.address, path=template.path),
        timeout_s,
    )


@pytest.mark.parametrize(
    ("mode", "params", "check"),
    [
        ("refuse", {}, lambda sight: sight.state == observe.State.REFUSED),
        ("blackhole", {}, lambda sight: sight.state == observe.State.SILENT),
        (
            "slow",
            {"latency_ms": 120},
            lambda sight: sight.state == observe.State.ANSWERS and sight.latency_ms >= 119,
        ),
        ("slow", {"latency_ms": 81, "jitter_ms": 20}, lambda sight: sight.latency_ms >= 60),
        (
            "lossy",
            {"share": 1.0},
            lambda sight: sight.state in {observe.State.RESET, observe.State.REFUSED},
        ),
        ("bandwidth", {"rate_kb_per_s": 10}, lambda sight: sight.state == observe.State.ANSWERS),
    ],
    ids=["refuse", "blackhole", "slow", "jitter", "lossy", "bandwidth"],
)
def test_link_faults_show_through_the_link_and_are_gone_afterwards(either, mode, params, check):
    assert through(either).state == observe.State.ANSWERS
    context = broken(either, LINK, mode, **params)
    assert check(through(either))
    assert look(either, "b/service") == observe.State.ANSWERS, "only the link is broken"
    undo_all(context)
    assert through(either, timeout_s=2).state == observe.State.ANSWERS
    assert either.events() == FOUR


def test_only_our_toxics_are_removed(either):
    proxy = either.target.component(LINK).handle["proxy"]
    either.client.add_toxic(proxy, "latency", {"latency": 1}, name="rtt_up", stream="upstream")
    try:
        context = broken(either, LINK, "slow", latency_ms=60)
        undo_all(context)
        assert [toxic.name for toxic in either.client.toxics(proxy)] == ["rtt_up"]
    finally:
        either.client.ensure_no_toxic(proxy, "rtt_up")


def test_a_lossy_share_breaks_about_that_share(either):
    context = broken(either, LINK, "lossy", share=0.5)
    states = [through(either).state for _ in range(60)]
    failed = sum(state != observe.State.ANSWERS for state in states)
    assert 12 <= failed <= 48  # 0.5 of 60 within 4.6 standard deviations
    undo_all(context)


def test_losing_a_region_takes_its_processes_and_links_and_leaves_the_others(either):
    context = broken(either, "a", "crash")
    assert {look(either, name) for name in ("a/edge", "a/service")} == {observe.State.REFUSED}
    assert through(either).state == observe.State.REFUSED
    assert look(either, "b/edge") == look(either, "b/service") == observe.State.ANSWERS
    requested = next(row for row in either.timeline() if row["event"] == "fault.requested")
    assert (requested["component"], requested["mode"], len(requested["parts"])) == ("a", "crash", 6)
    undo_all(context)
    assert {look(either, name, 2) for name in ("a/edge", "a/service")} == {observe.State.ANSWERS}
    assert either.timeline()[-1]["mode"] == "crash"


def test_a_partition_cuts_both_ways_and_leaves_users_alone(either):
    context = either.context()
    inject(context, cut_between(either.target, [["a"], ["b"]]), "blackhole")
    assert (
        through(either).state
        == through(either, "link:b/edge->a/service").state
        == observe.State.SILENT
    )
    assert through(either, "link:population/users->a/edge").state == observe.State.ANSWERS
    assert through(either, "link:a/edge->a/service").state == observe.State.ANSWERS
    undo_all(context)


def test_the_times_agree_with_an_independent_observer(here):
    """Applied within 100 ms of the request; timeline and observer within 10 ms of each other, an
    observer's step aside.
    """
    refused_ns = []
    ready, done = threading.Event(), threading.Event()
    port = here.ports["a/edge"]

    def watch():
        while not done.wait(0.001):
            try:
                with socket.create_connection(("127.0.0.1", port), 0.5):
                    ready.set()
            except ConnectionRefusedError:
                refused_ns.append(time.monotonic_ns())
                return
            except ConnectionResetError:
                continue

    observer = threading.Thread(target=watch)
    observer.start()
    ready.wait(5)
    context = broken(here, "a/edge", "crash")
    observer.join(5)
    done.set()
    at = {row["event"]: row["at_ns"] for row in here.timeline()}
    undo_all(context)
    assert at["fault.requested"] <= refused_ns[0] <= at["fault.observed"] + 10_000_000
    assert (at["fault.acknowledged"] - at["fault.requested"]) / 1e6 < 100


def test_what_was_not_whole_before_cannot_be_proven_broken(here):
    context = broken(here, "a/edge", "crash")
    for mode in ("crash", "freeze"):
        with pytest.raises(NotWhole, match="no running process"):
            inject(context, [here.target.component("a/edge")], mode)
    with pytest.raises(NotWhole, match="already"):
        inject(
            context,
            [here.target.component("link:population/users->a/edge")],
            "slow",
            {"latency_ms": 100},
        )
    assert len(open_entries(here.folder)) == 1, "a refused fault leaves no entry"
    undo_all(context)


def test_a_fault_without_effect_is_withdrawn_and_says_so(here):
    """The process dies as asked, but somebody else answers at its port: only the outside look can
    tell.
    """
    context = here.context()
    edge, impostor = here.target.component("a/edge"), here.target.component("b/edge")
    fooled = Component(
        name="a/edge",
        kind="edge",
        backend="process",
        region="a",
        handle=edge.handle,
        observe=impostor.observe,
    )
    world = here.target.__class__(name="fooled", components=(fooled,))
    context.target = world
    with pytest.raises(Unproven, match="not seen within"):
        inject(context, [fooled], "crash", proof_s=0.3)
    assert here.events() == [
        "fault.requested",
        "fault.acknowledged",
        "fault.unproven",
        "fault.cleared",
    ]
    assert open_entries(here.folder) == []
    assert look(here, "a/edge", 2) == observe.State.ANSWERS


def test_a_stopping_run_injects_nothing(here):
    context = here.context()
    context.stopping.set()
    with pytest.raises(Stopped):
        inject(context, [here.target.component("a/edge")], "crash")
    assert look(here, "a/edge") == observe.State.ANSWERS
    assert open_entries(here.folder) == []


@pytest.mark.parametrize(
    ("name", "mode", "params", "says"),
    [
        (LINK, "freeze", {}, "cannot freeze"),
        (LINK, "slow", {"latency_ms": 0}, "latency_ms must be"),
        (LINK, "lossy", {"share": 0}, "share"),
        (LINK, "bandwidth", {"rate_kb_per_s": 100_000}, "too wide"),
        ("a/edge", "melt", {}, "unknown mode"),
    ],
)
def test_bad_requests_break_nothing(here, name, mode, params, says):
    with pytest.raises(CannotBreak, match=says):
        inject(here.context(), [here.target.component(name)], mode, params)
    assert open_entries(here.folder) == []


def test_an_undo_that_fails_stays_open_names_everything_and_can_be_repeated(here):
    context = here.context()
    inject(context, [here.target.component("a/edge"), here.target.component("b/edge")], "freeze")
    # Their ledger entries know only a `start` that fails, and the processes are gone: neither undo
    # can work now.
    for name in ("a/edge", "b/edge"):
        processes.signal_if_same(*here.pid(name), signal.SIGKILL)
    ledger = here.folder / "undo.ndjson"
    right = ledger.read_text()
    ledger.write_text(right.replace('"start",', '"stutter",'))
    with pytest.raises(UndoFailed) as failure:
        undo_all(context, deadline_s=0.5)
    assert all(f"{name} (freeze)" in str(failure.value) for name in ("a/edge", "b/edge"))
    assert len(open_entries(here.folder)) == 2
    assert here.events()[-2:] == ["fault.undo_failed"] * 2
    ledger.write_text(right)
    assert sorted(undo_all(context)) == ["a/edge (freeze)", "b/edge (freeze)"]
    assert here.events()[-2:] == ["fault.cleared"] * 2


def test_empty_selection_never_reaches_a_backend(here, monkeypatch):
    from stormgate.chaos import actions

    monkeypatch.setattr(actions, "current", here.context)
    with pytest.raises(EmptySelection):
        actions.kill({"kind": "cache"})
    with pytest.raises(EmptySelection):
        actions.kill([])


def test_roles_are_those_of_now(here, monkeypatch):
    from stormgate.chaos import actions

    monkeypatch.setattr(actions, "current", here.context)
    here.roles(a__service="standby", b__service="primary")
    rows = actions.freeze({"kind": "service", "role": "primary"})
    assert [row["component"] for row in rows] == ["b/service"]


def test_a_rolling_restart_takes_one_after_the_other_and_only_its_own(here, monkeypatch):
    from stormgate.chaos import actions

    context = here.context()
    monkeypatch.setattr(actions, "current", lambda: context)
    actions.slow(LINK, latency_ms=60)
    before = {name: here.pid(name) for name in ("a/edge", "b/edge")}
    rows = actions.rolling_restart({"kind": "edge"}, pause_s=0, grace_s=0.5)
    assert [row["component"] for row in rows] == ["a/edge", "b/edge"]
    assert all(here.pid(name) != pid for name, pid in before.items())
    assert here.events() == FOUR[:3] + FOUR + FOUR
    assert [entry.part.name for entry in open_entries(here.folder)] == [LINK]


def test_a_flap_breaks_and_takes_back_so_many_times(here, monkeypatch):
    from stormgate.chaos import actions

    context = here.context()
    monkeypatch.setattr(actions, "current", lambda: context)
    actions.slow(LINK, latency_ms=60)
    rows = actions.flap("a/edge", "crash", down_s=0.1, up_s=0.1, times=2)
    assert [row["component"] for row in rows] == ["a/edge"] * 2
    assert here.events() == FOUR[:3] + FOUR + FOUR
    assert look(here, "a/edge", 2) == observe.State.ANSWERS
    assert [entry.part.name for entry in open_entries(here.folder)] == [LINK]
    context.stopping.set()
    with pytest.raises(Stopped):
        actions.flap("b/edge", "crash", down_s=30, up_s=1)


def test_a_full_disk_keeps_nothing_from_being_undone(here, monkeypatch):
    context = here.context()
    inject(context, [here.target.component("a/edge"), here.target.component(LINK)], "crash")
    with monkeypatch.context() as full:
        full.setattr(context.ledger, "undone", lambda entry, saw: no_space())
        full.setattr(context.timeline, "append", lambda row: no_space())
        with pytest.raises(UndoFailed, match="the ledger cannot say so"):
            undo_all(context, deadline_s=6)
    assert look(here, "a/edge", 2) == observe.State.ANSWERS
    assert through(here).state == observe.State.ANSWERS
    assert len(open_entries(here.folder)) == 2, "what is not written down is not closed"
    assert len(undo_all(context)) == 2


def no_space():
    raise OSError(28, "No space left on device")


def test_what_cannot_be_undone_keeps_no_other_down(here, monkeypatch):
    """Links are undone before processes; a server of links that is dead, or a bug, must not eat the
    time of the others.
    """
    context = here.context()
    inject(context, [here.target.component("a/edge"), here.target.component(LINK)], "crash")
    with monkeypatch.context() as broken_down:
        broken_down.setattr(backends.get("toxiproxy"), "undo", lambda *_: 1 / 0)
        with pytest.raises(UndoFailed, match="ZeroDivisionError"):
            undo_all(context, deadline_s=6)
    assert look(here, "a/edge", 2) == observe.State.ANSWERS
    assert [entry.part.name for entry in open_entries(here.folder)] == [LINK]
    told = here.events()
    assert "fault.undo_pending" in told, "what hangs is told while it is still tried"
    ends = [event for event in told if event != "fault.undo_pending"]
    assert ends[-2:] == ["fault.cleared", "fault.undo_failed"]
    assert undo_all(context) == [f"{LINK} (crash)"]


def test_an_error_nobody_thought_of_while_breaking_is_taken_back(here, monkeypatch):
    context = here.context()
    with monkeypatch.context() as broken_down:
        broken_down.setattr(backends.get("process"), "in_effect", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            inject(context, [here.target.component("a/edge")], "crash")
    assert open_entries(here.folder) == []
    assert look(here, "a/edge", 2) == observe.State.ANSWERS
