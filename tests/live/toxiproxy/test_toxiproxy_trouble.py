"""Servers that hang, die, lie or are something else: the client is neither held nor fooled."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.live.toxiproxy.kit import black_hole, choice_for, ping, read_exactly, running, wait_until

from stormgate.system import processes
from stormgate.toxiproxy import build, server
from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.errors import (
    AlreadyExists,
    InvalidRequest,
    ProxyNotFound,
    ResetIncomplete,
    ServerFailed,
    ServerNotStarted,
    ServerUnreachable,
    ServerWedged,
    ToxicNotApplied,
    ToxicNotFound,
    UnexpectedAnswer,
)
from stormgate.toxiproxy.types import ProxySpec

pytestmark = pytest.mark.live

NOWHERE = "127.0.0.1:1"


@pytest.fixture(params=["real", "embedded"])
def own(request, tmp_path):
    """A server of one test's own, to be broken."""
    with running(request.param, tmp_path / "log") as toxi:
        yield toxi


# -- the known hangs and crashes of the real server


def test_a_black_holed_upstream(own, echo):
    """The real server wedges: the call returns in bounded time, typed, and a restart is the way
    out. Ours does not.
    """
    with black_hole() as hole:
        client = Client(own.running.url, timeout_s=1.5)
        client.create("hole", hole)
        client.create("fine", echo.address)
        client.add_toxic("fine", "latency", {"latency": 1})
        waiting = socket.create_connection(client.get("hole").address)
        time.sleep(0.2)
        begin = time.monotonic()
        if own.real:
            with pytest.raises(ServerWedged):
                client.set_enabled("hole", False)
            with pytest.raises(ServerWedged):
                client.delete("hole")
            with pytest.raises(ServerWedged):
                client.create("another", echo.address)
        else:
            assert client.set_enabled("hole", False).enabled is False
            assert waiting.recv(1) == b"", "a client that waits for the upstream is let go"
            client.delete("hole")
            client.create("another", echo.address)
            assert set(client.reset()) == {"fine", "another"}
        assert time.monotonic() - begin < 10
        begin = time.monotonic()
        own.running.stop(0.3)
        assert time.monotonic() - begin < 4
        waiting.close()


def test_a_reset_that_meets_a_wedged_proxy_still_frees_the_others(own, echo):
    with black_hole() as hole:
        client = Client(own.running.url, timeout_s=1.5)
        client.create("hole", hole)
        client.add_toxic("hole", "latency", {"latency": 1})
        for index in range(12):
            client.create(f"fine{index}", echo.address)
            client.add_toxic(f"fine{index}", "latency", {"latency": 150})
        waiting = socket.create_connection(client.get("hole").address)
        time.sleep(0.2)
        if own.real:
            with pytest.raises(ServerWedged):
                client.set_enabled("hole", False)
            with pytest.raises(ResetIncomplete) as caught:
                client.reset()
            assert set(caught.value.failures) == {"hole"}
        else:
            client.set_enabled("hole", False)
            client.reset()
        for index in range(12):
            assert client.toxics(f"fine{index}") == []
        with own.connect("fine3") as sock:
            assert min(ping(sock) for _ in range(3)) < 100
        waiting.close()


def test_a_slicer_of_size_zero(own, echo):
    client = own.client
    client.create("web", echo.address)
    with pytest.raises(InvalidRequest, match="average_size must be at least 1"):
        client.add_toxic("web", "slicer", {"delay": 5})
    client.add_toxic("web", "slicer", {"average_size": 10})
    with pytest.raises(InvalidRequest):
        client.update_toxic("web", "slicer_downstream", {"average_size": 0})
    own.raw("PATCH", "/proxies/web/toxics/slicer_downstream", {"attributes": {"average_size": 0}})
    with own.connect("web") as sock:
        sock.sendall(b"x" * 100)
        if not own.real:
            assert sock.recv(100)
            assert client.version()
            return
        assert wait_until(lambda: own.running.process.poll() is not None, 60), (
            "the real server dies of it"
        )
    with pytest.raises(ServerUnreachable):
        client.ensure_no_toxic("web", "slicer_downstream")


def test_reset_is_ours_and_whole(own):
    """With one proxy that cannot start the server's own reset leaves toxics behind; ours names the
    one and does the rest.
    """
    client = own.client
    with socket.create_server(("127.0.0.1", 0)) as taken:
        client.create("bad", NOWHERE, f"127.0.0.1:{taken.getsockname()[1]}", enabled=False)
        client.add_toxic("bad", "noop", {})
        for index in range(12):
            client.create(f"good{index}", NOWHERE)
            client.add_toxic(f"good{index}", "latency", {"latency": 9})
            client.set_enabled(f"good{index}", False)
        with pytest.raises(ResetIncomplete) as caught:
            client.reset()
    assert isinstance(caught.value.failures.pop("bad"), ServerFailed)
    assert caught.value.failures == {}
    found = client.proxies()
    assert [name for name, proxy in found.items() if proxy.toxics] == []
    assert [name for name, proxy in found.items() if not proxy.enabled] == ["bad"]
    assert client.reset(["bad"])["bad"].enabled, "the address is free now"


# -- what the client promises


def test_undo_can_be_repeated(toxi, echo):
    client = toxi.client
    client.create("web", echo.address)
    for _ in range(2):
        assert (
            client.ensure_toxic("web", "latency", {"latency": 5}, name="slow").attributes["latency"]
            == 5
        )
        assert client.ensure_toxic(
            "web", "latency", {"jitter": 3}, name="slow", toxicity=0.5
        ).attributes == {
            "latency": 0,
            "jitter": 3,
        }
    assert (
        client.ensure_toxic("web", "timeout", {}, name="slow", stream="upstream").type == "timeout"
    )
    for _ in range(2):
        client.ensure_no_toxic("web", "slow")
        assert client.ensure_enabled("web", False).enabled is False
        assert client.ensure_enabled("web", False).enabled is False
        assert client.ensure_enabled("web").toxics == ()
    for _ in range(2):
        client.ensure_deleted("web")
    for gone in (
        lambda: client.ensure_no_toxic("web", "slow"),
        lambda: client.ensure_enabled("web"),
    ):
        with pytest.raises(ProxyNotFound):
            gone()


def test_what_is_so_already_is_not_written(toxi, monkeypatch):
    client = toxi.client
    client.create("web", NOWHERE)
    client.ensure_toxic("web", "latency", {"latency": 5}, toxicity=0.1)
    methods = sent_by(client, monkeypatch)
    client.ensure_toxic("web", "latency", {"latency": 5}, toxicity=0.1)
    client.ensure_enabled("web")
    assert set(methods) == {"GET"}


def test_a_rate_is_never_raised_in_place(toxi, echo, monkeypatch):
    """The real server may cut out of range and die when it is: seen once in 150 tries timed for
    it.
    """
    client = toxi.client
    client.create("web", echo.address)
    client.add_toxic("web", "bandwidth", {"rate": 0})
    client.add_toxic("web", "slicer", {"average_size": 9, "size_variation": 5})
    with toxi.connect("web") as sock:
        sock.sendall(b"x" * 1000)
        methods = sent_by(client, monkeypatch)
        assert client.update_toxic("web", "bandwidth_downstream", {"rate": 1000}).attributes == {
            "rate": 1000
        }
        client.update_toxic("web", "slicer_downstream", {"size_variation": 0}, toxicity=0.5)
        assert "PATCH" not in methods
        assert read_exactly(sock, 1000) == b"x" * 1000


def sent_by(client: Client, monkeypatch) -> list[str]:
    """The methods of all requests from now on."""
    methods, call = [], client._transport.call
    monkeypatch.setattr(
        client._transport,
        "call",
        lambda method, *args, **more: methods.append(method) or call(method, *args, **more),
    )
    return methods


def test_errors_are_typed(toxi):
    client = toxi.client
    client.create("web", NOWHERE)
    client.add_toxic("web", "noop", {})
    with pytest.raises(AlreadyExists):
        client.create("web", NOWHERE)
    with pytest.raises(AlreadyExists):
        client.add_toxic("web", "noop", {})
    with pytest.raises(ToxicNotFound):
        client.remove_toxic("web", "none")
    with pytest.raises(ToxicNotFound):
        client.update_toxic("web", "none", {})
    with pytest.raises(ProxyNotFound):
        client.toxics("none")
    with pytest.raises(ServerFailed):
        client.create("other", NOWHERE, "192.0.2.1:0")
    with pytest.raises(ServerFailed):
        client.populate([ProxySpec("other", NOWHERE, "192.0.2.1:0")])


def test_nothing_is_sent_when_a_fault_is_misspelt(toxi):
    client = toxi.client
    client.create("web", NOWHERE)
    for attributes, more in (
        ({"latncy": 5}, {}), ({"latency": -1}, {}), ({"latency": 1.5}, {}), ({"latency": 1}, {"toxicity": 1.1}),  # noqa: E501
        ({"latency": 1}, {"stream": "sideways"}), ({"latency": 1}, {"name": "a/b"}),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest):
            client.add_toxic("web", "latency", attributes, **more)
    assert client.toxics("web") == []


def test_names_survive_the_url(toxi):
    client = toxi.client
    for name in ("eu-west → us-east", "a b", "50%", "q?x=1#y", "ü"):
        client.create(name, NOWHERE)
        client.add_toxic(name, "noop", {}, name=f"{name}!")
        client.remove_toxic(name, f"{name}!")
        assert client.get(name).name == name
        client.delete(name)


def test_populate_can_be_repeated_without_moving_a_port(toxi):
    client = toxi.client
    specs = [ProxySpec("a", NOWHERE), ProxySpec("b", NOWHERE, enabled=False)]
    first = client.populate(specs)
    client.add_toxic("a", "noop", {})
    client.set_enabled("a", False)
    second = client.populate(specs)
    assert (second[0].listen, second[0].enabled, len(second[0].toxics)) == (
        first[0].listen,
        True,
        1,
    )
    assert [proxy.name for proxy in client.populate([ProxySpec("a", "127.0.0.1:2")])] == ["a"]
    assert client.get("a").upstream == "127.0.0.1:2"
    assert client.populate([]) == []


def test_a_port_taken_while_a_proxy_was_down(toxi):
    client = toxi.client
    address = client.create("web", NOWHERE).address
    client.set_enabled("web", False)
    with socket.create_server(address), pytest.raises(ServerFailed, match="address already in use"):
        client.ensure_enabled("web")
    assert client.ensure_enabled("web").address == address


# -- something else at the address


def test_another_http_server(tmp_path):
    argv = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    process = processes.spawn(argv, cwd=tmp_path, log_path=tmp_path / "log")
    try:
        assert wait_until(lambda: server.listening_ports(process.pid))
        client = Client(f"http://127.0.0.1:{server.listening_ports(process.pid).pop()}", 5)
        for call in (
            client.version,
            client.proxies,
            lambda: client.create("a", NOWHERE),
            client.reset,
        ):
            with pytest.raises(UnexpectedAnswer):
                call()
    finally:
        processes.stop(process, 2)


def test_silence_and_absence_are_bounded():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begin = time.monotonic()
        with pytest.raises(ServerWedged):
            Client(url, 0.3).proxies()
        with pytest.raises(ServerWedged):
            Client(url, 0.3).wait_ready(0.5)
        assert time.monotonic() - begin < 3
    with pytest.raises(ServerUnreachable):
        Client(url, 0.3).wait_ready(0.2)


def test_a_server_killed_between_write_and_read_back(own):
    own.client.create("web", NOWHERE)
    own.running.process.send_signal(signal.SIGSTOP)
    # The other threads of a process run on until each is scheduled and sees that it is to stop.
    tasks = Path(f"/proc/{own.running.pid}/task")
    assert wait_until(
        lambda: all(
            stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in tasks.glob("*/stat")
        )
    )
    with pytest.raises(ServerWedged):
        Client(own.running.url, 0.3).set_enabled("web", False)
    own.running.process.kill()
    own.running.process.wait()
    with pytest.raises(ServerUnreachable):
        own.client.set_enabled("web", False)


def test_a_write_that_did_not_take_is_seen(toxi, monkeypatch):
    """Another client undoes ours between write and read back: the two really race, here at the one
    point that counts.
    """
    client = toxi.client
    client.create("web", NOWHERE)
    call = client._transport.call

    def interfered(method, path, body=None, **more):
        answer = call(method, path, body, **more)
        if method == "PATCH":
            toxi.raw(
                "PATCH",
                path,
                {"enabled": not body["enabled"]} if "enabled" in body else {"toxicity": 0.25},
            )
        return answer

    monkeypatch.setattr(client._transport, "call", interfered)
    with pytest.raises(ToxicNotApplied):
        client.set_enabled("web", False)
    client.add_toxic("web", "latency", {"latency": 5})
    with pytest.raises(ToxicNotApplied):
        client.update_toxic("web", "latency_downstream", {"latency": 6})
    monkeypatch.undo()


# -- the launcher


def test_a_server_dies_with_its_launcher(own, tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom stormgate.toxiproxy import server, "
        "build\n"
        "choice = server.embedded_choice() if sys.argv[1] == 'embedded' else "
        "server.ServerChoice('binary', build.VERSION, '', Path(sys.argv[2]))\n"
        "print(server.launch(choice, log_path=Path(sys.argv[3])).pid, flush=True)\ntime.sleep(60)"
    )
    argv = [
        sys.executable,
        "-c",
        code,
        own.kind,
        str(build.cache_path()),
        str(tmp_path / "child.log"),
    ]
    launcher = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        pid = int(launcher.stdout.readline())
        ticks = processes.pid_start_ticks(pid)
        assert processes.alive(pid, ticks)
    finally:
        launcher.kill()
        launcher.wait()
        launcher.stdout.close()
    assert wait_until(lambda: not processes.alive(pid, ticks))


def test_a_taken_port_is_an_error_not_somebody_elses_server(own, tmp_path, monkeypatch):
    if own.real:  # it never ends by itself, so this is the time the test takes
        monkeypatch.setattr(server, "_START_S", 2.0)
    port = int(own.running.url.rpartition(":")[2])
    with pytest.raises(ServerNotStarted, match="in use"):
        server.launch(choice_for(own.kind), port=port, log_path=tmp_path / "second.log")


def test_which_server_is_chosen(tmp_path):
    real = choice_for("real").path
    bin_dir, cache = tmp_path / "bin", tmp_path / "cache"
    bin_dir.mkdir()
    nothing = {"PATH": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(cache)}
    none = server.find_server(nothing)
    assert none.kind == "embedded"
    assert "no toxiproxy-server on PATH; none in our cache" in none.why
    target = build.cache_path(nothing)
    target.parent.mkdir(parents=True)
    os.symlink(real, target)
    assert (server.find_server(nothing).path, server.find_server(nothing).why) == (
        target,
        "in our cache",
    )
    assert server.ensure_binary(lambda _: None, nothing).path == target
    os.symlink(real, bin_dir / "toxiproxy-server")
    on_path = server.find_server({**nothing, "PATH": str(bin_dir)})
    assert (on_path.path, on_path.version) == (bin_dir / "toxiproxy-server", build.VERSION)


def test_an_old_server_on_path_is_passed_over(tmp_path):
    old = tmp_path / "toxiproxy-server"
    old.write_text("#!/bin/sh\necho toxiproxy-server version 2.4.0\n")
    old.chmod(0o755)
    choice = server.find_server({"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert choice.kind == "embedded"
    assert "2.4.0, at least 2.7.0 is needed" in choice.why


def test_the_url_asked_for_is_used_or_is_an_error(toxi):
    choice = server.find_server({server.URL_VARIABLE: toxi.running.url})
    assert (choice.kind, choice.url) == ("running", toxi.running.url)
    attached = server.launch(choice)
    attached.stop()
    assert attached.pid is None
    assert attached.client().version() == choice.version
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    with pytest.raises(ServerUnreachable, match=server.URL_VARIABLE):
        server.find_server({server.URL_VARIABLE: f"http://127.0.0.1:{free}"})
