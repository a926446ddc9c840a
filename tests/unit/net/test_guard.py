"""The gate at the socket: whatever client asks, nothing arrives outside `allow`, and who asked is
known. Tried in a process of its own, since an audit hook cannot be taken out again.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stormgate.model import Observe
from stormgate.net.allow import AllowList
from stormgate.net.guard import PacketRefusedError, Refusal, SocketGuard, holding, without_proxies
from stormgate.net.look import State, look

FRAME = """
import json, os, sys
{before}
import socket
from stormgate.net.allow import AllowList
from stormgate.net.guard import SocketGuard, install
told = []
guard = SocketGuard(AllowList({allow!r}), lambda r: told.append((r.who, r.where, r.count)))
install(guard)
sys.path.insert(0, {folder!r})
import content
results = {{}}
for name, attempt in content.TRIES.items():
    try:
        results[name] = repr(attempt())
    except Exception as error:
        results[name] = "raised " + type(error).__name__ + ": " + str(error)
guard.flush()
print(json.dumps({{"results": results, "told": told}}))
"""
GEVENT = "from gevent import monkey; monkey.patch_all()"

CONTENT = """
import socket, urllib.request, http.client, asyncio, threading
HERE, THERE, UDP = {here}, {there}, {udp}

def udp(send, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        return send(s)

def tcp(address, how="connect", family=socket.AF_INET):
    with socket.socket(family) as s:
        s.settimeout(5)
        return getattr(s, how)(address)

def in_asyncio():
    async def ask():
        reader, writer = await asyncio.open_connection("127.0.0.2", THERE)
        writer.close()
    asyncio.run(ask())

def in_thread():
    found = []
    def ask():
        try:
            tcp(("127.0.0.2", THERE))
        except Exception as error:
            found.append(error)
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    raise found[0]

def with_requests(host="127.0.0.2", port=None):
    import requests
    return requests.get("http://%s:%d/" % (host, port or THERE), timeout=5).status_code

TRIES = {{
    "connect": lambda: tcp(("127.0.0.2", THERE)),
    "connect_ex": lambda: tcp(("127.0.0.2", THERE), "connect_ex"),
    "bytes": lambda: tcp((b"127.0.0.2", THERE)),
    "short": lambda: tcp(("127.2", THERE)),
    "hexadecimal": lambda: tcp(("0x7f000002", THERE)),
    "mapped": lambda: tcp(("::ffff:127.0.0.2", THERE), family=socket.AF_INET6),
    "create_connection": lambda: socket.create_connection(("127.0.0.2", THERE), 5),
    "sendto": lambda: udp(lambda s: s.sendto(b"x", ("127.0.0.2", UDP))),
    "sendmsg": lambda: udp(lambda s: s.sendmsg([b"x"], [], 0, ("127.0.0.2", UDP))),
    "udp connect": lambda: udp(lambda s: (s.connect(("127.0.0.2", UDP)), s.send(b"x"))),
    "urllib": lambda: urllib.request.urlopen("http://127.0.0.2:%d/" % THERE, timeout=5),
    "requests": with_requests,
    "http.client": lambda: http.client.HTTPConnection("127.0.0.2", THERE, 5).request("GET", "/"),
    "asyncio": in_asyncio,
    "thread": in_thread,
}}
OTHERS = {{
    "here": lambda: tcp(("127.0.0.1", HERE)),
    "here by requests": lambda: with_requests("127.0.0.1", HERE),
    "here by name": lambda: socket.create_connection(("localhost", HERE), 5).close(),
    "here in IPv6's words": lambda: tcp(("::ffff:127.0.0.1", HERE), family=socket.AF_INET6),
    "unix": lambda: [s.close() for s in socket.socketpair()],
    "proxies": lambda: urllib.request.getproxies_environment(),
}}
TRIES.update(OTHERS)
"""


@pytest.fixture
def listeners() -> Iterator[tuple[int, int, int, list[socket.socket]]]:
    """A web server here, and there a TCP and a UDP listener whom nothing may reach."""
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1"],
                cwd=os.path.dirname(__file__),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        )
        stack.callback(here.terminate)
        assert here.stdout is not None
        port = int(here.stdout.readline().split(b" port ")[1].split()[0])
        there = stack.enter_context(socket.create_server(("127.0.0.2", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.2", 0))
        yield port, there.getsockname()[1], udp.getsockname()[1], [there, udp]


def run(folder: Path, allow: list[str], *, before: str = "") -> dict[str, dict[str, str]]:
    code = FRAME.format(before=before, allow=allow, folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("before", ["", GEVENT], ids=["plain", "gevent"])
def test_no_client_reaches_a_stranger(
    before: str, listeners: tuple[int, int, int, list[socket.socket]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    here, there, udp, strangers = listeners
    proxy = f"http://127.0.0.2:{there}"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    (tmp_path / "content.py").write_text(CONTENT.format(here=here, there=there, udp=udp))
    found = run(tmp_path, ["127.0.0.1/32"], before=before)

    fine = {"here", "here by requests", "here by name", "here in IPv6's words", "unix", "proxies"}
    refused = {name: text for name, text in found["results"].items() if name not in fine}
    if before:
        assert "TypeError" in refused.pop("bytes")  # gevent's own sockets take no bytes
    for name, text in refused.items():
        assert "nothing was sent" in text or "is not in the target's allow list" in text, name
    assert {
        name: found["results"][name] for name in fine if "raised" in found["results"][name]
    } == {}
    assert found["results"]["here by requests"] == "200"
    assert found["results"]["proxies"] == "{'no': '*'}"
    assert select.select(strangers, [], [], 0.2)[0] == []
    told = found["told"]
    assert sum(count for _, _, count in told) == len(refused) >= 14  # type: ignore[misc]
    for who, where, _ in told:  # type: ignore[misc]
        assert "content.py:" in who, (who, where)
        assert "127.0.0.2" in where or "127.2" in where or "0x7f000002" in where


def test_a_listed_name_may_be_contacted_wherever_it_leads(
    listeners: tuple[int, int, int, list[socket.socket]], tmp_path: Path
) -> None:
    here, there, udp, _ = listeners
    (tmp_path / "content.py").write_text(
        CONTENT.format(here=here, there=there, udp=udp)
        + "ask = lambda host: socket.create_connection((host, HERE), 5).close()\n"
        "TRIES = {'unknown': lambda: ask('127.0.0.1'), 'name': lambda: ask('LocalHost'),\n"
        "'known': lambda: ask('127.0.0.1'), 'stranger': lambda: ask('127.0.0.2')}\n"
    )
    results = run(tmp_path, ["localhost"])["results"]
    assert results["name"] == results["known"] == "None"
    assert results["unknown"].startswith("raised PacketRefusedError")
    assert results["stranger"].startswith("raised PacketRefusedError")


def test_what_is_told_adds_up_however_often_it_was_tried() -> None:
    told: list[Refusal] = []
    guard = SocketGuard(AllowList(["127.0.0.1/32"]), told.append)
    with socket.socket() as sock:
        for _ in range(21):
            with pytest.raises(PacketRefusedError, match=r"127\.0\.0\.2:9 is not in"):
                guard.check("socket.connect", sock, ("127.0.0.2", 9))
        guard.check("socket.connect", sock, ("127.0.0.1", 9))
    assert [refusal.count for refusal in told] == [1, 1, 2, 4, 8]
    guard.flush()
    assert sum(refusal.count for refusal in told) == 21
    assert "test_guard.py:" in told[0].who
    assert isinstance(PacketRefusedError("x"), OSError)


def test_who_cannot_be_told_is_refused_all_the_same() -> None:
    def full(_: Refusal) -> None:
        raise OSError("no space left on device")

    guard = SocketGuard(AllowList(["127.0.0.1/32"]), full)
    with socket.socket() as sock, pytest.raises(PacketRefusedError):
        guard.check("socket.connect", sock, ("127.0.0.2", 9))
    assert sum(guard.refused().values()) == 1


@pytest.mark.skipif(not hasattr(socket, "AF_PACKET"), reason="Linux")
def test_frames_and_strange_families_leave_by_no_door() -> None:
    class Raw:
        family = socket.AF_PACKET

    guard = SocketGuard(AllowList(["127.0.0.0/8"]), lambda _: None)
    for event in ("socket.sendto", "socket.bind"):
        with pytest.raises(PacketRefusedError):
            guard.check(event, Raw(), ("lo", 0))


def test_an_environment_without_proxies() -> None:
    given = {"HTTP_PROXY": "p", "https_proxy": "p", "All_Proxy": "p", "NO_PROXY": "x", "A": "b"}
    assert without_proxies({**given, "GEVENT_RESOLVER": "ares"}) == {
        "A": "b",
        "NO_PROXY": "*",
        "no_proxy": "*",
    }


def test_while_it_is_held_and_no_longer() -> None:
    with socket.create_server(("127.0.0.2", 0)) as there:
        observe = Observe(protocol="tcp", address=f"127.0.0.2:{there.getsockname()[1]}")
        with holding(AllowList(["127.0.0.1/32"])):
            sight = look(observe)
            with holding(AllowList(["127.0.0.0/8"])):
                inner = look(observe)
        assert sight.state is inner.state is State.UNREACHABLE
        assert "nothing was sent" in sight.detail
        assert select.select([there], [], [], 0.1)[0] == []
        assert look(observe).state is State.ANSWERS


def test_an_address_is_looked_at_after_it_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    observe = Observe(protocol="tcp", address="${WHERE}")
    assert look(observe).detail == "it refers to ${WHERE}, which is not set"
    monkeypatch.setenv("WHERE", "127.0.0.2:9")
    sight = look(observe, allow=AllowList(["127.0.0.1/32"]))
    assert "127.0.0.2 (127.0.0.2) is not in the target's allow list" in sight.detail
