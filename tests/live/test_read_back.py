"""Reading back and looking through stores of a system that is no lab: a Valkey and a PostgreSQL,
both with passwords, a door over HTTP, a log and a command, all started here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stormgate.evidence import open_run
from stormgate.evidence.folder import create_run_folder
from stormgate.evidence.operation_files import OperationFile
from stormgate.evidence.operations import FINAL, KINDS, NOTHING, OUTCOMES, HistoryReader
from stormgate.evidence.write import TIMELINE, Timeline
from stormgate.lab.native import postgres
from stormgate.lab.runtime import folders
from stormgate.model import FinalRead, Load, Objective, Plan, Store, Target, to_json
from stormgate.supervise.children import free_port
from stormgate.supervise.read_back import ReadBack
from stormgate.supervise.reading import ReadingBack
from stormgate.system.processes import spawn, stop

pytestmark = pytest.mark.live

CANARY = "canary-eu-person"
PASSWORD = "correct-horse-battery-staple"
LISTS = {f"list/{n}": [1, 2, n + 3] for n in range(5)}
HTTP = {**{f"/{key}": {"versions": held} for key, held in LISTS.items()}, "/counter": {"value": 7}}


class Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = HTTP.get(self.path) if self.headers["authorization"] == f"Bearer {PASSWORD}" else {}
        body = json.dumps(found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        return


class World:
    """The servers, and the stores that a target would list of them."""

    def __init__(self, work: Path, tmp: Path) -> None:
        self.tmp = tmp
        binaries = folders.find_binaries(work)
        self.ports = {name: free_port() for name in ("postgres", "valkey")}
        (work / "own").mkdir()
        postgres.give_to(work / "own", binaries.user)
        data = work / "own" / "db"
        postgres.initdb(binaries, data)
        postgres.write_role(data, port=self.ports["postgres"], upstream=None, synchronous_with=None)
        (data / "pg_hba.conf").write_text(
            "host all auditor 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        )
        postgres.give_to(data, binaries.user)
        own = {"env": postgres.environment(), "cwd": Path("/"), "user": binaries.user}
        self.valkey = spawn(
            [
                *(str(binaries.valkey), "--bind", "127.0.0.1", "--port"),
                *(str(self.ports["valkey"]), "--requirepass", PASSWORD),
                *("--save", "", "--dir", "/"),
            ],
            new_session=True,
            **own,  # type: ignore[arg-type]
        )
        self.postgres = spawn(
            postgres.server_argv(binaries, data),
            new_session=True,
            death_signal=signal.SIGQUIT,
            **own,  # type: ignore[arg-type]
        )
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.admin = _until(self._connect)
        self._fill()

    def _connect(self) -> Any:
        try:
            return psycopg.connect(
                f"host=127.0.0.1 port={self.ports['postgres']} user={postgres.SUPERUSER}"
                " dbname=postgres sslmode=disable",
                autocommit=True,
            )
        except psycopg.OperationalError:
            return None

    def _fill(self) -> None:
        self.admin.execute(f"CREATE ROLE auditor LOGIN PASSWORD '{PASSWORD}'")
        self.admin.execute("CREATE TABLE kept (key text, version bigint, note text)")
        self.admin.execute("GRANT SELECT ON kept TO auditor")
        rows = [(key, v, "") for key, held in LISTS.items() for v in held]
        rows += [("list/4/newest", v, "") for v in (3, 7)]
        rows += [("counter", 7, f"of {CANARY}-77"), ("bank/a", 60, ""), ("bank/b", 40, "")]
        with self.admin.cursor() as cursor:
            cursor.executemany("INSERT INTO kept VALUES (%s, %s, %s)", rows)
        commands = [f"AUTH {PASSWORD}", "SET v:counter 7", "SET v:list/4 [1,2,7]"]
        commands += [
            f"RPUSH v:{key} {' '.join(map(str, held))}"
            for key, held in LISTS.items()
            if key != "list/4"
        ]
        self.redis(*commands)
        (self.tmp / "app.log").write_text(f"started\n{'x' * (1 << 20)}{CANARY}-1\n")
        (self.tmp / "read.py").write_text(
            "import sys\n[print(f'{k}\\t{n}') for k in sys.stdin.read().split()"
            " if k[-1].isdigit() for n in (1, 2, int(k[-1]) + 3)]\n"
        )
        (self.tmp / "scan.py").write_text(
            "import sys, json\nwords = sys.stdin.read().split()\n"
            "print(json.dumps({'searched': 12, 'found': {}, 'control': True}))\n"
        )

    def redis(self, *commands: str) -> None:
        import socket

        def connected() -> Any:
            try:
                return socket.create_connection(("127.0.0.1", self.ports["valkey"]), 2)
            except OSError:
                return None

        with _until(connected) as sock:
            for command in commands:
                sock.sendall(command.encode() + b"\r\n")
                assert sock.recv(1000)[:1] in (b"+", b":"), command

    def stores(self) -> tuple[Store, ...]:
        pg = {
            "reader": "postgres",
            "region": "eu",
            "address": f"127.0.0.1:{self.ports['postgres']}",
            "user": "auditor",
            "password": "${STORE_PASSWORD}",
            "query": "SELECT key, version FROM kept WHERE key = ANY(%(keys)s)",
            "control": "list/3",
        }
        valkey = f"127.0.0.1:{self.ports['valkey']}"
        return (
            Store(name="db", **pg),  # type: ignore[arg-type]
            Store(name="db-of-lists", **{**pg, "holds": ("list/",)}),  # type: ignore[arg-type]
            Store(
                name="cache",
                reader="redis",
                region="us",
                address=valkey,
                password="${STORE_PASSWORD}",
                key="v:{key}",
                holds=("list/", "counter"),
            ),
            Store(
                name="door",
                reader="http",
                region="us",
                url=f"http://127.0.0.1:{self.http.server_port}/{{key}}",
                values=("/versions", "/value"),
                headers={"Authorization": "Bearer ${STORE_PASSWORD}"},
            ),
            Store(name="log", reader="file", region="us", path=str(self.tmp / "app.*")),
            Store(
                name="queue",
                reader="command",
                read=(sys.executable, str(self.tmp / "read.py")),
                scan=(sys.executable, str(self.tmp / "scan.py")),
                holds=("list/",),
            ),
            Store(name="gone", reader="redis", address=f"127.0.0.1:{free_port()}", key="{key}"),
            Store(name="foreign", reader="postgres", address="192.0.2.1:5432", query=pg["query"]),
        )

    def stop(self) -> None:
        self.admin.close()
        self.http.shutdown()
        self.http.server_close()
        for child, number in ((self.valkey, signal.SIGKILL), (self.postgres, signal.SIGQUIT)):
            child.send_signal(signal.SIGCONT)
            child.send_signal(number)
            child.wait(10)


def _until(true: Any, seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while (value := true()) is None or value is False:
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    work = folders.make_work_dir(os.environ)
    made = World(work, tmp_path_factory.mktemp("world"))
    yield made
    made.stop()
    postgres.clear_leftovers(work / "own" / "db")
    subprocess.run(["/bin/rm", "-rf", str(work)], check=True)


def plan_of(stores: tuple[Store, ...], final_read: FinalRead) -> Plan:
    target = Target(
        name="pair",
        allow=("127.0.0.0/8",),
        stores=stores,
        canaries={"eu-personal": CANARY},
        final_read=final_read,
    )
    return Plan(
        gate="pair",
        seed=7,
        confidence=0.95,
        target=target,
        load=Load(locustfile="none.py", rate_per_s=1, users=1),
        warmup_s=1,
        steady_s=1,
        final_s=1,
        faults=(),
        objectives=(Objective(name="no-loss", kind="ackedWrites", spec={}),),
    )


def read_back(
    run: Path, stores: tuple[Store, ...], *, within_s: float = 8.0, recovery: bool = False
) -> None:
    """What the supervisor does with a run whose load has just ended."""
    plan = plan_of(
        stores,
        FinalRead(after_s=0.1, within_s=within_s, scan_every_s=60.0, scan_within_s=within_s),
    )
    run.mkdir()
    (run / "plan.json").write_text(json.dumps(to_json(plan.sealed())))
    with OperationFile(run, "w0") as file:
        common = {"session": "w0/0", "outcome": "ok", "invoked_ns": 1, "completed_ns": 2}
        for key, held in LISTS.items():
            for element in held:
                file.add("append", key, version=element, **common)
        file.add("append", "list/none", version=1, **{**common, "outcome": "info"})
        file.add("add", "counter", value=7, **common)
        file.add("write", "list/4/newest", version=7, **common)
        for number in range(200):  # of which no store has any
            file.add("write", f"elsewhere/{number}", version=1, **common)
        file.add("transfer", "bank/a", to="bank/b", value=1, **common)

    def say(**row: Any) -> None:
        with (run / TIMELINE).open("a") as timeline:
            timeline.write(json.dumps({"at_ns": time.monotonic_ns(), **row}) + "\n")

    say(event="phase.begin", phase="fault[x]")
    child = spawn(
        [sys.executable, "-m", "stormgate.supervise.read_back"],
        env={
            **os.environ,
            "STORMGATE_EVIDENCE": str(run),
            "STORE_PASSWORD": PASSWORD,
        },
        log_path=run / "log",
    )
    try:
        _until(lambda: (run / "operations" / "residency.ndjson").exists() or None)
        if recovery:
            say(event="phase.begin", phase="recovery[x]")
            final = run / "operations" / "final.arrow"
            _until(lambda: (final.exists() and final.stat().st_size > 4000) or None)
        say(event="read_back.begin")
        assert child.wait(60) == 0, (run / "log").read_text()
    finally:
        stop(child, 0.1)


def answers(run: Path) -> dict[tuple[str, str], tuple[str, list[int], str | None]]:
    """(store, key) -> outcome, numbers, error of the final reads, which break no law."""
    reader = HistoryReader()
    found = reader.read(open_run(run).operations(FINAL), final=True)
    assert reader.problems == []
    told: dict[tuple[str, str], tuple[str, list[int], str | None]] = {}
    for row in range(len(found)):
        key = found.names.shown("store", found.store[row]), found.names.shown("key", found.key[row])
        kind = KINDS[found.kind[row]]
        number = int((found.version if kind in ("list", "read") else found.value)[row])
        outcome, error = OUTCOMES[found.outcome[row]], found.names.shown("error", found.error[row])
        numbers = told.setdefault(key, (outcome, [], error))[1]  # type: ignore[arg-type]
        if number != NOTHING:
            numbers.append(number)
    return told


def residency(run: Path) -> dict[tuple[str, str], dict[str, Any]]:
    rows = open_run(run).residency
    assert open_run(run).problems == []
    return {(row["store"], row["phase"]): row for row in rows}


def test_every_reader_gives_what_its_store_holds_and_no_credential(
    world: World, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    read_back(run, world.stores())
    told = answers(run)
    listed = {"db", "db-of-lists", "cache", "door", "queue"}
    for store in listed:
        for key, held in LISTS.items():
            outcome, numbers, error = told[store, key]
            assert (outcome, sorted(numbers), error) == ("ok", held, None), (store, key)
        assert told[store, "list/none"] == ("ok", [], None)
    for store in ("db", "cache", "door"):
        assert told[store, "counter"] == ("ok", [7], None)
    assert told["db", "bank/a"] == ("ok", [60], None)
    assert told["db", "bank/b"] == ("ok", [40], None)
    # Key by key nobody sees accounts at one moment; and what a store does not hold is not asked.
    absent = {("door", "bank/a"), ("queue", "counter"), ("db-of-lists", "counter")}
    assert not absent & set(told)
    assert {told["gone", key][0] for key in LISTS} == {"fail"}
    assert "refused" in str(told["gone", "list/1"][2])
    assert "not in the target's allow list" in str(told["foreign", "list/1"][2])
    for file in run.rglob("*"):
        if file.is_file():
            assert PASSWORD.encode() not in file.read_bytes(), file


def test_registers_are_read_in_a_recovery_too_and_lists_are_not(
    world: World, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    read_back(run, world.stores()[1:2], recovery=True)
    reader = HistoryReader()
    found = reader.read(open_run(run).operations(FINAL), final=True)
    assert reader.problems == []
    told = {
        (found.names.shown("phase", phase), found.names.shown("key", key)): int(version)
        for phase, key, version in zip(found.phase, found.key, found.version, strict=True)
    }
    assert {key for phase, key in told if phase == "recovery[x]"} == {"list/4/newest"}
    assert told["recovery[x]", "list/4/newest"] == told["final", "list/4/newest"] == 7
    assert ("final", "list/1") in told


def test_canaries_are_found_where_they_are_and_an_unread_store_is_none(
    world: World, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    read_back(run, world.stores())
    rows = residency(run)
    for phase in ("fault[x]", "final"):
        assert rows["db", phase]["found"] is True
        assert rows["db", phase]["control"] is True
        assert rows["db", phase]["searched"] == 20
        assert rows["log", phase]["found"] is True
        assert rows["log", phase]["searched"] > 1 << 20
        cache = rows["cache", phase]
        assert (cache["found"], cache["searched"], cache["control"]) == (False, 6, None)
        assert (rows["queue", phase]["found"], rows["queue", phase]["control"]) == (False, True)
        for store in ("gone", "foreign"):
            assert rows[store, phase]["scanned"] is False
            assert rows[store, phase]["why"]
        assert ("door", phase) not in rows
    world.redis(f"AUTH {PASSWORD}", "FLUSHALL")
    read_back(tmp_path / "empty", world.stores()[2:3])
    cache = residency(tmp_path / "empty")["cache", "final"]
    assert (cache["scanned"], cache["searched"], cache["control"]) == (True, 0, True)
    world.redis(f"AUTH {PASSWORD}", f"HSET user:9 mail {CANARY}@x")
    read_back(tmp_path / "again", world.stores())
    assert "key user:9" in residency(tmp_path / "again")["cache", "final"]["why"]


def test_a_store_that_falls_silent_costs_its_time_and_is_told(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    world.valkey.send_signal(signal.SIGSTOP)
    try:
        read_back(run, world.stores()[:3], within_s=1.0)
    finally:
        world.valkey.send_signal(signal.SIGCONT)
    told = answers(run)
    assert {told["cache", key][0] for key in LISTS} == {"info"}
    assert told["db", "list/1"][0] == "ok"
    assert residency(run)["cache", "final"]["scanned"] is False


def test_what_did_not_answer_is_asked_again_by_itself(tmp_path: Path) -> None:
    stores = tuple(
        Store(name=name, reader="file", path=str(tmp_path / f"{name}.log"))
        for name in ("here", "late")
    )
    (tmp_path / "here.log").write_text("a line")
    back = ReadBack(tmp_path, plan_of(stores, FinalRead(scan_within_s=5.0)), {})
    assert back.look() == {"late"}
    (tmp_path / "late.log").write_text("a line")
    assert back.look(only={"late"}) == set()
    lines = (tmp_path / "operations" / "residency.ndjson").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    told = [(row["store"], row["scanned"]) for row in rows]
    assert sorted(told[:2]) == [("here", True), ("late", False)]
    assert told[2:] == [("late", True)]


def test_a_table_that_may_not_be_read_is_not_looked_through(world: World, tmp_path: Path) -> None:
    world.admin.execute("CREATE TABLE hidden (x text)")
    try:
        read_back(tmp_path / "run", world.stores()[:1])
    finally:
        world.admin.execute("DROP TABLE hidden")
    row = residency(tmp_path / "run")["db", "final"]
    assert (row["scanned"], row["why"]) == (False, "its user may not read public.hidden")


def test_a_reading_that_dies_is_told_and_one_that_nobody_asks_for_never_begins(
    tmp_path: Path,
) -> None:
    folder = create_run_folder(tmp_path, "pair", now=datetime.now(UTC), first_files={})
    timeline = Timeline(folder)
    log = (Store(name="log", reader="file", path="/nowhere"),)
    unasked = replace(plan_of(log, FinalRead()), objectives=())
    for plan in (plan_of((), FinalRead()), unasked, plan_of(log, FinalRead())):
        reading = ReadingBack(plan, folder, tmp_path)
        reading.start()
        reading.finish(timeline, lambda: time.sleep(0.05))
    events = [json.loads(line) for line in (folder / TIMELINE).read_text().splitlines()]
    assert [row["event"] for row in events] == ["read_back.begin", "read_back.end"]
    # There is no plan.json: it cannot know what to read.
    assert events[1]["whole"] is False
    assert "plan.json is missing" in events[1]["why"]
