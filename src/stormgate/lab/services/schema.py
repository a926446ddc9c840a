"""CHE·NU's objects in SQL: users, threads and messages, partitioned by the user's region. Pure
text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from stormgate.lab.services import ledger

SPHERES = ("personal", "business", "creative")
_USER = re.compile(r"([a-z][a-z0-9-]*)-(0|[1-9][0-9]{0,5})\Z", re.ASCII)

# Each answers one request in one round trip, as JSON text that goes to the client (and into the
# cache) as it is.
PROFILE = (
    "SELECT json_build_object('user', id, 'name', name, 'region', user_region)::text FROM users"
    " WHERE user_region = %(home)s AND id = %(user)s"
)
SPHERE = (
    "SELECT json_build_object('user', %(user)s::text, 'sphere', %(sphere)s::text, 'threads', "
    "count(*))::text FROM threads"
    " WHERE user_region = %(home)s AND user_id = %(user)s AND sphere = %(sphere)s"
)
LIST_THREADS = (
    "SELECT json_build_object('user', %(user)s::text, 'sphere', %(sphere)s::text, 'threads', "
    "coalesce(json_agg(t), '[]'))::text"
    " FROM (SELECT id, title, created_at FROM threads WHERE user_region = %(home)s AND user_id "
    "= %(user)s"
    " AND sphere = %(sphere)s ORDER BY created_at DESC LIMIT 20) t"
)
# `versions` are all that were ever written to the thread, not only those of its newest messages, in
# ascending order; one that is there twice is listed twice.
OPEN_THREAD = (
    "SELECT json_build_object('id', t.id, 'sphere', t.sphere, 'title', t.title, 'versions', "
    "(SELECT coalesce(json_agg(v.version ORDER BY v.version), '[]') FROM"
    " (SELECT t.version UNION ALL SELECT version FROM messages WHERE user_region = %(home)s AND "
    "thread_id = %(thread)s::uuid) v WHERE v.version IS NOT NULL), 'messages', "
    "(SELECT coalesce(json_agg(m), '[]')"
    " FROM (SELECT id, body, version, created_at FROM messages WHERE user_region = %(home)s AND "
    "thread_id = %(thread)s::uuid"
    " ORDER BY created_at DESC LIMIT 20) m))::text"
    " FROM threads t WHERE t.user_region = %(home)s AND t.id = %(thread)s::uuid AND t.user_id "
    "= %(user)s"
)
# The client's id is the key: the same write twice is one row, and the second answer says so.
CREATE_THREAD = (
    "INSERT INTO threads (id, user_id, sphere, user_region, title, version)"
    " VALUES (%(id)s::uuid, %(user)s, %(sphere)s, %(home)s, %(title)s, %(version)s)"
    " ON CONFLICT DO NOTHING RETURNING 1"
)
WRITE_MESSAGE = (
    "WITH t AS (SELECT id FROM threads WHERE user_region = %(home)s AND id = %(thread)s::uuid "
    "AND user_id = %(user)s),"
    " i AS (INSERT INTO messages (id, thread_id, user_region, body, version) SELECT "
    "%(id)s::uuid, t.id, %(home)s, %(body)s, %(version)s::bigint FROM t"
    " ON CONFLICT DO NOTHING RETURNING 1)"
    " SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM i)"
)


def parse_user(user: str) -> tuple[str, int] | None:
    """`eu-17` -> ("eu", 17): the shard the user's data lives on, and a number; None where it is no
    user's name.
    """
    found = _USER.match(user)
    return (found.group(1), int(found.group(2))) if found else None


def home_region(number: int, regions: Sequence[str]) -> str:
    """The region a user is at home in, of the shard's two."""
    return regions[number % len(regions)]


def ddl(shard: str, regions: Sequence[str], users: int) -> list[str]:
    """The statements that make a shard's tables and fill them: 6 threads a user, 3 messages a
    thread.

    A row of a region the shard does not hold has no partition to go to: the database itself refuses
    it.
    """
    created_at = "created_at timestamptz NOT NULL DEFAULT clock_timestamp()"
    tables = {
        "users": "id text, name text NOT NULL",
        "threads": "id uuid, user_id text NOT NULL, sphere text NOT NULL, title text NOT "
        f"NULL, version bigint, {created_at}",
        "messages": "id uuid, thread_id uuid NOT NULL, body text NOT NULL, version bigint, "
        f"{created_at}",
    }
    partitioned = (
        "user_region text NOT NULL, PRIMARY KEY (user_region, id)) PARTITION BY LIST (user_region)"
    )
    statements = [
        f"CREATE TABLE {table} ({columns}, {partitioned}" for table, columns in tables.items()
    ]
    for region in regions:
        suffix = region.replace("-", "_")
        statements += [
            f"CREATE TABLE {table}_{suffix} PARTITION OF {table} FOR VALUES IN ('{region}')"
            for table in tables
        ]
    array = "ARRAY[" + ", ".join(f"'{region}'" for region in regions) + "]"
    spheres = "ARRAY[" + ", ".join(f"'{sphere}'" for sphere in SPHERES) + "]"
    home = f"({array})[n % {len(regions)} + 1]"
    numbers = f"generate_series(0, {users - 1}) n"
    # Fixed identifiers and times: the template is the same on every machine. Names come from the
    # layout, which allows no quotes.
    return [
        *statements,
        "CREATE INDEX ON threads (user_region, user_id, sphere, created_at DESC)",
        "CREATE INDEX ON messages (user_region, thread_id, created_at DESC)",
        f"INSERT INTO users (id, name, user_region) SELECT '{shard}-' || n, 'User ' || n, "  # noqa: S608
        f"{home} FROM {numbers}",
        "INSERT INTO threads (id, user_id, sphere, user_region, title, created_at)"  # noqa: S608
        f" SELECT md5('{shard}-' || n || '/' || i)::uuid, '{shard}-' || n, ({spheres})[i % 3 + "
        f"1], {home},"
        f" 'Thread ' || i, timestamptz '2026-01-01 00:00Z' + i * interval '1 hour'"
        f" FROM {numbers}, generate_series(0, 5) i",
        "INSERT INTO messages (id, thread_id, user_region, body, created_at)"
        " SELECT md5(id || '/' || i)::uuid, id, user_region, 'Message ' || i, created_at + i * "
        "interval '1 minute'"
        " FROM threads, generate_series(0, 2) i",
        *ledger.ddl(shard),
        "ANALYZE",
        "CHECKPOINT",
    ]
