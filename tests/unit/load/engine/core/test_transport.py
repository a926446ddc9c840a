"""The compiled core as a transport: what it holds to its time, gives away, and leaves behind."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from tests.unit.load.engine_bench import OK, Answerer

from stormgate.load.engine import steering
from stormgate.load.engine.clock import TurnClock
from stormgate.load.engine.core import native, why_not
from stormgate.load.engine.core.odd import OddTransport
from stormgate.load.engine.core.transport import LEAD_NS, CoreTransport
from stormgate.load.engine.pool import Pools
from stormgate.load.http.addresses import Addresses
from stormgate.load.record.reasons import Reasons
from stormgate.model import Outcome, Population
from stormgate.net.allow import AllowList

pytestmark = pytest.mark.skipif(native is None, reason=f"the core is not built: {why_not}")
HEAD = b"HTTP/1.1 200 OK\r\n"
S = 1_000_000_000


class Rig:
    """A core and a server, without an engine."""

    def __init__(self, answer=OK):
        self.server = Answerer(answer)
        url = f"http://127.0.0.1:{self.server.port}"
        people = Population(
            name="london", share=1, latitude=0, longitude=0, edges=("a",), links={"a": url}
        )
        self.pool = Pools(people, 0, {"a": url}).current
        self.pool.addresses = Addresses([(socket.AF_INET, ("127.0.0.1", self.server.port))])
        self.said, self.slipped = [], []
        reasons = Reasons(lambda *what: self.said.append(what))
        odd = OddTransport(TurnClock(), reasons, self.slipped.append, max_connections=50)
        self.transport = CoreTransport(native, odd, reasons, self.slipped.append)

    def submit(self, path="/x", *, after_ns=0, timeout_ns=10 * S):
        attempt = SimpleNamespace(
            pool=self.pool,
            payload=f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
            timeout_ns=timeout_ns,
            connect_timeout_ns=timeout_ns,
            intended_ns=time.monotonic_ns() + after_ns,
            attempt=1,
            sent_ns=-1,
            started_ns=0,
            request=SimpleNamespace(is_head=False, name=path),
        )
        self.transport.submit(attempt)
        return attempt

    def until(self, condition, within_s=20):
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, "the condition did not come true"
            self.transport.flush()
            self.server.serve()
            select.select([self.transport.fileno()], [], [], 0.002)
            self.transport.turn()
            self.transport.sweep(time.monotonic_ns())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.transport.close()
        self.server.close()
        assert self.slipped == []


def test_an_attempt_goes_out_at_its_time_whatever_the_interpreter_does():
    """Its lock is never let go here until long after; nothing is sent before its time, either."""
    with Rig() as rig:
        rig.submit()
        rig.until(lambda: rig.transport.ended)  # a connection to go by
        rig.transport.ended.clear()
        attempts = [rig.submit(f"/{n}", after_ns=20_000_000 + n * 1_000_000) for n in range(20)]
        assert rig.transport.ahead() == 20
        rig.transport.flush()
        end = time.monotonic_ns() + S
        while time.monotonic_ns() < end:  # no system call that would release the lock
            pass
        rig.until(lambda: len(rig.transport.ended) == 20)
        assert all(one.intended_ns <= one.sent_ns < end for one in attempts)
        assert rig.transport.ahead() == 0
        assert [one[1] for one in rig.transport.ended] == [Outcome.OK] * 20
        assert rig.transport.counts.sent == 21
        assert len(rig.transport.counts.lags) == 21


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nTrailer: x\r\n\r\n",
    ],
    ids=["folded", "chunk extension", "trailer"],
)
def test_what_the_core_does_not_decide_goes_on_in_python_on_the_same_connection(answer):
    with Rig(answer) as rig:
        for count in (1, 2):
            rig.submit()
            rig.until(lambda: rig.transport.ended)
            _, outcome, status, raw, _, _ = rig.transport.ended.popleft()
            assert (outcome, status, len(raw)) == (Outcome.OK, 200, len(answer))
            assert len(rig.server.requests) == count
        assert rig.transport.counts.new_connections == 1
        assert [kind for kind, *_ in rig.said] == ["engine"]


def test_an_answer_larger_than_the_core_keeps_goes_on_in_python():
    answer = HEAD + b"Content-Length: 20000000\r\n\r\n" + b"x" * 20_000_000
    with Rig(None) as rig, socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            sock, _ = listener.accept()
            with sock:
                for _ in range(2):
                    sock.recv(1000)
                    sock.sendall(answer)

        rig.pool.addresses = Addresses([(socket.AF_INET, listener.getsockname())])
        server = threading.Thread(target=serve)
        server.start()
        for _ in range(2):
            rig.submit(timeout_ns=60 * S)
            rig.until(lambda: rig.transport.ended)
            _, outcome, status, raw, _, _ = rig.transport.ended.popleft()
            assert (outcome, status, raw) == (Outcome.OK, 200, answer)
        server.join()
        assert rig.transport.counts.new_connections == 1


def test_above_the_rate_at_which_it_ticks_each_comes_back_once():
    """Answers wait for the next tick there, and whoever takes them for several."""
    with Rig() as rig:
        attempts = [
            rig.submit(after_ns=10_000_000 + n * 100_000, timeout_ns=120 * S) for n in range(5_000)
        ]
        rig.until(lambda: len(rig.transport.ended) >= len(attempts), within_s=120)
        assert sorted(id(one[0]) for one in rig.transport.ended) == sorted(map(id, attempts))
        assert {one[1] for one in rig.transport.ended} == {Outcome.OK}
        assert all(one.intended_ns <= one.sent_ns for one in attempts)
        assert len(rig.server.requests) == len(rig.transport.counts.lags) == len(attempts)
        assert rig.transport.counts.new_connections <= 50


def test_the_end_books_everything_once_and_what_is_ahead_still_goes_out():
    with Rig(None) as rig:
        attempts = [rig.submit(after_ns=n * LEAD_NS // 10) for n in range(10)]
        rig.until(lambda: rig.transport.open_connections)
        rig.transport.end()
        assert sorted(id(one[0]) for one in rig.transport.ended) == sorted(map(id, attempts))
        assert {one[1] for one in rig.transport.ended} <= {
            Outcome.FIRST_BYTE_TIMEOUT,
            Outcome.NOT_SENT,
        }
        assert rig.transport.open_connections == 0
        assert rig.transport.ahead() == 0


def test_deadlines_and_the_cap_are_kept_without_anybody_turning():
    with Rig(None) as rig:
        rig.transport.open_allowance = 3
        attempts = [rig.submit(timeout_ns=S // 10) for _ in range(5)]
        rig.transport.flush()
        rig.until(lambda: len(rig.transport.ended) == 5)
        outcomes = sorted(one[1].value for one in rig.transport.ended)
        assert outcomes == ["first_byte_timeout"] * 3 + ["not_sent"] * 2
        assert sum(one.sent_ns < 0 for one in attempts) == 2
        assert [kind for kind, *_ in rig.said] == [Outcome.NOT_SENT]


def test_a_name_that_moved_is_dialled_at_its_new_address():
    with Rig() as rig, contextlib.closing(Answerer()) as other:
        rig.submit()
        rig.until(lambda: rig.transport.ended)
        rig.transport.ended.clear()
        rig.transport.drop_idle(rig.pool)
        rig.pool.addresses = Addresses([(socket.AF_INET, ("127.0.0.1", other.port))])
        rig.submit("/moved")
        rig.until(lambda: other.serve() or rig.transport.ended)
        assert rig.transport.ended[0][1] is Outcome.OK
        assert len(other.requests) == len(rig.server.requests) == 1
        # With several each is dialled in its turn.
        pair = [(socket.AF_INET, ("127.0.0.1", rig.server.port)), *rig.pool.addresses.all]
        rig.pool.addresses = Addresses(pair)
        for count in range(2, 6):
            rig.transport.drop_idle(rig.pool)
            rig.submit("/pair")
            rig.until(lambda count=count: other.serve() or len(rig.transport.ended) == count)
        assert {one[1] for one in rig.transport.ended} == {Outcome.OK}
        assert len(other.requests) == len(rig.server.requests) == 3
        assert rig.transport._odd.open_connections == 0
        assert rig.said == []


def test_no_address_outside_the_allow_list_is_dialled(monkeypatch):
    """Whatever else its name leads to."""
    with Rig() as rig, socket.create_server(("127.0.0.2", rig.server.port)) as outside:
        outside.setblocking(False)
        answers = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", rig.server.port))
            for last in (2, 1, 3)
        ]
        monkeypatch.setattr(steering.gsocket, "getaddrinfo", lambda *_, **__: answers)
        steering.resolve(rig.pool, AllowList(["127.0.0.1/32"]))
        for count in range(1, 5):
            rig.transport.drop_idle(rig.pool)
            rig.submit()
            rig.until(lambda count=count: len(rig.transport.ended) == count)
        assert {one[1] for one in rig.transport.ended} == {Outcome.OK}
        assert rig.transport.counts.new_connections == 4
        with pytest.raises(BlockingIOError):
            outside.accept()


def test_of_several_addresses_each_has_its_turn_and_who_led_nowhere_is_said():
    """Nobody listens at two of three: each attempt is well, and nothing is left under way."""
    with Rig() as rig:
        port = rig.server.port
        rig.pool.addresses = Addresses(
            (socket.AF_INET, (f"127.0.0.{last}", port)) for last in (2, 1, 3)
        )
        for count in range(1, 7):
            rig.transport.drop_idle(rig.pool)
            rig.submit()
            rig.until(lambda count=count: len(rig.transport.ended) == count)
        assert {one[1] for one in rig.transport.ended} == {Outcome.OK}
        assert len(rig.server.requests) == 6
        assert sorted(why.split(":")[0] for *_, why in rig.said) == ["127.0.0.2", "127.0.0.3"]
        assert all(why.endswith("refused; the next one is tried") for *_, why in rig.said)
        rig.pool.addresses = Addresses(
            (socket.AF_INET, (f"127.0.0.{last}", port)) for last in (2, 3, 4)
        )
        rig.transport.drop_idle(rig.pool)
        rig.submit()
        rig.until(lambda: len(rig.transport.ended) == 7)
        assert rig.transport.ended[6][1] is Outcome.REFUSED
        rig.until(lambda: not rig.transport.open_connections)


def test_a_forked_process_has_no_core_and_harms_none():
    with Rig() as rig:
        rig.submit()
        rig.until(lambda: rig.transport.ended)
        rig.transport.ended.clear()
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                rig.submit()
                is_refused = rig.transport.ended[0][1] is None and len(rig.slipped) == 1
                rig.transport.close()
                os._exit(0 if is_refused else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        rig.submit()
        rig.until(lambda: rig.transport.ended)
        assert rig.transport.ended[0][1] is Outcome.OK
        assert rig.transport.counts.new_connections == 1


LEFT_RUNNING = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
from tests.unit.load.engine.core.test_transport import Rig
rig = Rig(None)
for n in range(100):
    rig.submit(after_ns=n * 1_000_000)
rig.transport.flush()
rig.transport.turn()
# Whoever started the tests in the background gave us ctrl-C to ignore.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
except KeyboardInterrupt:
    print("interrupted")
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("del rig", 0), ("os.kill(os.getpid(), signal.SIGKILL)", -9)]
)
def test_a_process_ends_with_a_core_at_work_in_it(end, code):
    """Signals are the main thread's; what is under way at the end holds nothing up."""
    script = LEFT_RUNNING.format(tests=os.getcwd(), end=end)
    done = subprocess.run(
        [sys.executable, "-u", "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "interrupted\n"), done.stderr


def test_what_cannot_be_submitted_comes_back_as_ours():
    rig = Rig()
    attempt = rig.submit()
    attempt.payload = "text"
    rig.transport.submit(attempt)
    with pytest.raises(TypeError):
        raise rig.slipped[0]
    rig.until(lambda: len(rig.transport.ended) == 2)
    assert {one[1] for one in rig.transport.ended} == {None, Outcome.OK}
    rig.slipped.clear()
    rig.__exit__()
