"""What CHE·NU's users write can be held against the end: each write is noted once, whatever came of
it, has a version of its own, and says where it is from.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
# In its own process: importing Locust patches the interpreter. Answers are those of a lab that
# loses some: every fifth request has none.
CODE = """
import json, random, runpy, sys
from stormgate.load.engine.stream import Session
from stormgate.load.flow import Reply
from stormgate.load.record.operations import OperationLog
from stormgate.load.record.recorder import Recorder
from stormgate.model import Outcome, Population

module = runpy.run_path("loadtests/chenu.py")
recorder = Recorder("w0", ("shard", "served_by"))
log = OperationLog(recorder)
chance, asked = random.Random(3), []
threads = [{"id": f"00000000-0000-4000-8000-{n:012}"} for n in range(2)]
ANSWER = {
    "token": "t", "threads": threads, "versions": [1, 2], "value": 41, "applied": True,
    "accounts": {str(n): 1000 for n in range(8)},
}
def run(user, session):
    flow, reply, first = user.flow(session), None, True
    while True:
        try:
            request = next(flow) if first else flow.send(reply)
        except StopIteration:
            return
        first = False
        lost = chance.random() < 0.2 and request.path != "/login"
        body = b"" if lost else json.dumps(ANSWER).encode()
        raw = b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n%b" % (len(body), body)
        outcome = Outcome.BODY_TIMEOUT if lost else Outcome.OK
        reply = Reply(request, outcome, 0 if lost else 200, b"" if lost else raw, 10, 30)
        assert lost or reply.fits(), reply.error
        asked.append([session.stream, request.method, request.path, request.body.decode(), lost])

for name in ("Writer", "Reader"):
    user = object.__new__(module[name])
    for stream in range(6):
        shard = ("us", "eu")[stream % 2]
        place = Population(
            name=shard, share=1, latitude=0, longitude=0, labels={"shard": shard}
        )
        session = Session(place, stream, stream)
        session.signed_in = False
        session.notes_into(log, shard, {})
        for _ in range(150):
            run(user, session)
rows = log.take().to_pylist()
print(json.dumps({"asked": asked, "rows": rows}))
"""


@pytest.fixture(scope="module")
def told() -> Any:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def writes(told: Any) -> list[tuple[dict[str, Any], bool]]:
    """(what was sent, whether it had no answer) of every write but logins."""
    return [
        (json.loads(body), lost)
        for _, method, path, body, lost in told["asked"]
        if method == "POST" and path != "/login"
    ]


def test_a_write_is_noted_once_however_often_it_is_said(told: Any) -> None:
    said = [body["id"] for body, _ in writes(told)]
    noted = [row for row in told["rows"] if row["kind"] in ("append", "add", "transfer")]
    visits = [r for r in told["rows"] if r["kind"] == "write" and r["key"].endswith("/visits")]
    assert len(noted) + len(visits) == len(set(said))
    # Whoever had no answer says it again, and some do so without need.
    again = [body for at, (body, _) in enumerate(writes(told)) if body["id"] in said[:at]]
    assert len(again) > sum(lost for _, lost in writes(told)) / 2 > 10
    bodies: dict[str, Any] = {}
    for body, _ in writes(told):
        assert bodies.setdefault(body["id"], body) == body


def test_versions_are_of_one_write_each_and_rise_with_their_writer(told: Any) -> None:
    seen: set[tuple[str, int]] = set()
    last: dict[str, int] = {}
    for row in told["rows"]:
        if row["kind"] == "append":
            assert (row["key"], row["version"]) not in seen
            seen.add((row["key"], row["version"]))
            assert row["version"] > last.get(row["session"], 0)
            last[row["session"]] = row["version"]
    newest = {
        (row["key"].removeprefix("newest/"), row["version"])
        for row in told["rows"]
        if row["kind"] == "write" and row["key"].startswith("newest/")
    }
    assert newest == seen
    assert len(seen) > 100


def test_what_had_no_answer_is_noted_as_unknown(told: Any) -> None:
    lost = {row["outcome"] for row in told["rows"] if row["error"]}
    assert lost == {"info", "fail"}  # writes nobody knows of, reads that failed
    assert all(
        row["outcome"] == "info"
        for row in told["rows"]
        if row["error"] and row["kind"] in ("append", "write", "add", "transfer")
    )
    visits = [r for r in told["rows"] if r["kind"] == "write" and r["key"].endswith("/visits")]
    assert {row["version"] for row in visits} == {41, None}


def test_europeans_write_their_canary_and_nobody_else_does(told: Any) -> None:
    texts = [
        (stream % 2 == 1, json.loads(body).get("body") or json.loads(body).get("title"))
        for stream, method, path, body, _ in told["asked"]
        if method == "POST" and path.startswith("/threads")
    ]
    assert {european for european, _ in texts} == {True, False}
    for european, text in texts:
        assert ("canary-eu-personal" in text) is european
        # A log keeps how a text begins, and the target's canary must still be in it.
        assert not european or "canary-eu-personal" in text[:80]


def test_readers_read_what_writers_write(told: Any) -> None:
    written = {row["key"] for row in told["rows"] if row["kind"] == "append"}
    listed = {row["key"] for row in told["rows"] if row["kind"] == "list"}
    assert written & listed
    balances = [row for row in told["rows"] if row["kind"] == "balance" and row["outcome"] == "ok"]
    assert len({row["key"] for row in balances}) == 16
