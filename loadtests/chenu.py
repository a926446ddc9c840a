"""CHE·NU's users: seven read where three write. Who they are and what they do; nothing about pass
or fail.

One arrival is one request, so that the planned rate is the request rate. Where users are, and in
what shares, is the target's. What they write and read they note, so that it can be held against
what is there in the end (docs/data-safety.md).
"""

from __future__ import annotations

import uuid
from collections.abc import Generator
from typing import Any

from stormgate.load import GeoUser, Reply, Request, Session, get, post

USERS_PER_SHARD = 1000
# So many writers have readers of their own threads beside them: another device of theirs.
WRITERS_READ = 100
SPHERES = ("personal", "personal", "personal", "business", "business", "creative")
COUNTERS = ("likes", "shares", "views")
# Counted one by one: each visit is told its number, which nobody else is told.
VISITS = "visits"
ACCOUNTS = 8
TIMEOUT_S = 2.0
# What Europeans write says so, wherever it is found later (targets/lab.yaml).
CANARIES = {"eu": "canary-eu-personal"}
Flow = Generator[Request, Reply, Any]


def right(reply: Reply) -> bool:
    """An error is no answer, whatever its status says."""
    return "error" not in reply.json()


def ask(path: str, name: str) -> Request:
    """A read."""
    return get(path, name=name, timeout_s=TIMEOUT_S, check=right)


class Member(GeoUser):
    """Someone with an account on the shard of their population."""

    abstract = True
    rate_per_s = 1  # many quiet streams, so that a population of 4 % is not one stream or two

    def account(self, session: Session) -> int:
        """The number of their account."""
        raise NotImplementedError

    def login(self, session: Session) -> Flow:
        session.threads = []
        session.shard = session.population.labels.get("shard", "us")
        session.user = f"{session.shard}-{self.account(session) % USERS_PER_SHARD}"
        reply = yield post(
            "/login",
            name="log in",
            json={"user": session.user},
            timeout_s=TIMEOUT_S,
            check=right,
        )
        session.signed_in = reply.ok
        if session.signed_in:
            session.set_header("Authorization", f"Bearer {reply.json()['token']}")
            yield from self.list_threads(session, SPHERES[0])

    def list_threads(self, session: Session, sphere: str = "") -> Flow:
        sphere = sphere or session.random.choice(SPHERES)
        reply = yield ask(f"/threads?sphere={sphere}", "list threads")
        # Looking inside costs more than the request: once a user knows some threads, that is
        # enough.
        if reply.ok and not session.threads:
            session.threads = [thread["id"] for thread in reply.json()["threads"]]
        self.note(session, reply)

    def note(self, session: Session, reply: Reply) -> None:
        """A token that is not taken any more has to be asked for again."""
        if reply.status == 401:
            session.signed_in = False


class Reader(Member):
    """Looks at lists, threads, the profile, the spheres and what is counted."""

    weight = 7

    def account(self, session: Session) -> int:
        # That of a writer in the same place, or of the next one, who mostly is elsewhere.
        return 2 * ((session.stream + session.stream % 2) % WRITERS_READ) + 1

    def flow(self, session: Session) -> Flow:
        if not session.signed_in:
            yield from self.login(session)
            return
        pick = session.random.random()
        if pick < 0.42 or not session.threads:
            yield from self.list_threads(session)
            return
        if pick < 0.74:
            yield from self.open_thread(session)
        elif pick < 0.87:
            self.note(session, (yield ask("/profile", "open profile")))
        elif pick < 0.94:
            path = f"/spheres/{session.random.choice(SPHERES)}"
            self.note(session, (yield ask(path, "open sphere")))
        elif pick < 0.98:
            yield from self.look_at_counter(session)
        else:
            yield from self.look_at_accounts(session)

    def open_thread(self, session: Session) -> Flow:
        # The newest are another device's: what everybody knows are the first ones.
        thread = session.random.choice(session.threads)
        reply = yield ask(f"/threads/{thread}", "open thread")
        versions = reply.json()["versions"] if reply.ok else ()
        key = f"users/{session.user}/threads/{thread}"
        session.listed(key, versions, reply)
        session.read(f"newest/{key}", max(versions, default=None), reply)
        self.note(session, reply)

    def look_at_counter(self, session: Session) -> Flow:
        name = session.random.choice((*COUNTERS, VISITS))
        reply = yield ask(f"/counters/{name}", "open counter")
        key, value = f"shards/{session.shard}/counters/{name}", 0
        if reply.ok:
            value = reply.json()["value"]
        if name == VISITS:
            session.read(key, value or None, reply)
        else:
            session.counted(key, value, reply)
        self.note(session, reply)

    def look_at_accounts(self, session: Session) -> Flow:
        reply = yield ask("/accounts", "open accounts")
        held = reply.json()["accounts"] if reply.ok else dict.fromkeys(map(str, range(ACCOUNTS)), 0)
        bank = f"shards/{session.shard}/accounts"
        session.balances({f"{bank}/{number}": balance for number, balance in held.items()}, reply)
        self.note(session, reply)


class Writer(Member):
    """Writes messages, now and then starts a thread, counts, and moves amounts between accounts.

    Ids come from the client, so that a write can be said again. Some do so without need, as people
    press twice; whoever had no answer does. It is one write all the same, and noted once.
    """

    weight = 3

    def account(self, session: Session) -> int:
        session.written = 0
        session.again = None
        return 2 * session.stream + 1

    def flow(self, session: Session) -> Flow:
        if not session.signed_in:
            yield from self.login(session)
            return
        if session.again is not None:
            request, session.again = session.again, None
            self.note(session, (yield request))
            return
        pick = session.random.random()
        if pick < 0.06:
            yield from self.count(session)
        elif pick < 0.14:
            yield from self.visit(session)
        elif pick < 0.18:
            yield from self.transfer(session)
        elif pick < 0.30 or not session.threads:
            yield from self.start_thread(session)
        else:
            yield from self.write_message(session)

    def write_message(self, session: Session) -> Flow:
        # Half of all go to the threads that others read as well.
        known = session.threads[:2] if session.random.random() < 0.5 else session.threads
        thread, version = session.random.choice(known), self.next_version(session)
        body = {"id": self.new_id(session), "version": version}
        body["body"] = self.text(session, "message", body["id"])
        request = self.say(f"/threads/{thread}/messages", "write message", body)
        reply = yield request
        self.wrote(session, thread, version, reply)
        self.done(session, request, reply)

    def start_thread(self, session: Session) -> Flow:
        thread, version = self.new_id(session), self.next_version(session)
        title = self.text(session, "thread", thread)
        body = {
            "id": thread,
            "sphere": session.random.choice(SPHERES),
            "title": title,
            "version": version,
        }
        request = self.say("/threads", "start thread", body)
        reply = yield request
        self.wrote(session, thread, version, reply)
        if reply.ok:
            session.threads.append(thread)
        self.done(session, request, reply)

    def count(self, session: Session) -> Flow:
        name = session.random.choice(COUNTERS)
        body = {"id": self.new_id(session), "add": 1}
        request = self.say(f"/counters/{name}", "count", body)
        reply = yield request
        session.added(f"shards/{session.shard}/counters/{name}", 1, reply)
        self.done(session, request, reply)

    def visit(self, session: Session) -> Flow:
        body = {"id": self.new_id(session), "add": 1}
        request = self.say(f"/counters/{VISITS}", "visit", body)
        reply = yield request
        number = reply.json()["value"] if reply.ok else None
        nonce = uuid.UUID(str(body["id"])).int & (2**62 - 1)
        session.wrote(f"shards/{session.shard}/counters/{VISITS}", number, reply, nonce)
        self.done(session, request, reply)

    def transfer(self, session: Session) -> Flow:
        source, destination = session.random.sample(range(ACCOUNTS), 2)
        amount = session.random.randint(1, 20)
        body = {
            "id": self.new_id(session),
            "from": source,
            "to": destination,
            "amount": amount,
        }
        request = self.say("/transfers", "transfer", body)
        reply = yield request
        bank = f"shards/{session.shard}/accounts"
        session.transferred(f"{bank}/{source}", f"{bank}/{destination}", amount, reply)
        self.done(session, request, reply)

    def wrote(self, session: Session, thread: str, version: int, reply: Reply) -> None:
        """A thread is a list of versions, of which none may go; and its newest is what readers
        want to see.
        """
        key = f"users/{session.user}/threads/{thread}"
        session.appended(key, version, reply)
        session.wrote(f"newest/{key}", version, reply)

    def say(self, path: str, name: str, body: dict[str, Any]) -> Request:
        """A write. It is not kept: no two are the same."""
        return Request("POST", path, name=name, json=body, timeout_s=TIMEOUT_S, check=right)

    def done(self, session: Session, request: Request, reply: Reply) -> None:
        """Say it again the next time, if need be or by chance."""
        self.note(session, reply)
        if not reply.ok or session.random.random() < 0.05:
            session.again = request

    def next_version(self, session: Session) -> int:
        """Rises with every write of this user, and is nobody else's."""
        session.written += 1
        return int(session.stream * 1_000_000 + session.written)

    def new_id(self, session: Session) -> str:
        return str(uuid.UUID(int=session.random.getrandbits(128), version=4))

    def text(self, session: Session, what: str, identity: Any) -> str:
        return f"{CANARIES.get(session.shard, what)} {str(identity)[:8]}"
