"""A shard's counters and accounts in SQL, and every version that it holds as one view. Pure text.

They are the shard's, not a user's: many write to one at the same time, which is what they are for.
"""

from __future__ import annotations

COUNTERS = ("likes", "shares", "views", "visits")
ACCOUNTS = 8
OPENING_BALANCE = 1000

# Each write is one call, so one transaction and one round trip. The client's id makes it happen
# once, however often it is said; `applied` tells whether it was this time.
ADD = (
    "SELECT json_build_object('name', %(name)s::text, 'value', value, 'applied', applied)::text"
    " FROM counter_add(%(id)s::uuid, %(name)s, %(add)s)"
)
TRANSFER = (
    "SELECT json_build_object('id', %(id)s::text, 'applied', applied, 'short', short)::text"
    " FROM transfer(%(id)s::uuid, %(source)s, %(destination)s, %(amount)s)"
)
COUNTER = (
    "SELECT json_build_object('name', name, 'value', value)::text FROM counters"
    " WHERE name = %(name)s"
)
# One statement sees one moment: the total of a shard is the same at each.
BALANCES = (
    "SELECT json_build_object('accounts', json_object_agg(number, balance ORDER BY number),"
    " 'total', sum(balance))::text FROM accounts"
)
# The parts of read, change, write back. Two round trips are no way to change what others change.
COUNTER_VALUE = "SELECT value FROM counters WHERE name = %(name)s"
COUNTER_WRITE = (
    "UPDATE counters SET value = %(value)s WHERE name = %(name)s"
    " RETURNING json_build_object('name', name, 'value', value, 'applied', true)::text"
)
ACCOUNT_PAIR = (
    "SELECT (SELECT balance FROM accounts WHERE number = %(source)s),"
    " (SELECT balance FROM accounts WHERE number = %(destination)s)"
)
ACCOUNTS_WRITE = (
    "SELECT json_build_object('id', %(id)s::text, 'applied', count(*) = 2, 'short', false)::text"
    " FROM set_balances(%(source)s, %(source_after)s, %(destination)s, %(destination_after)s)"
)
REFUSED = '{"applied": false, "short": true}'


def ddl(shard: str) -> list[str]:
    """The statements that make a shard's counters and accounts, and the view `versions` of keys and
    what they hold: `users/<user>/threads/<id>` each version that was written,
    `shards/<shard>/counters/<name>` and `shards/<shard>/accounts/<number>` their present value.
    """
    names = ", ".join(f"('{name}', 0)" for name in COUNTERS)
    return [
        "CREATE TABLE counters (name text PRIMARY KEY, value bigint NOT NULL)",
        f"INSERT INTO counters (name, value) VALUES {names}",  # noqa: S608
        "CREATE TABLE accounts (number int PRIMARY KEY, balance bigint NOT NULL)",
        f"INSERT INTO accounts SELECT n, {OPENING_BALANCE} FROM "  # noqa: S608
        f"generate_series(0, {ACCOUNTS - 1}) n",
        "CREATE TABLE done (id uuid PRIMARY KEY)",
        "CREATE FUNCTION counter_add(wanted uuid, which text, step bigint, OUT value bigint, "
        "OUT applied boolean) LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO done (id) VALUES (wanted) ON CONFLICT DO NOTHING; applied := FOUND;"
        " IF applied THEN UPDATE counters c SET value = c.value + step WHERE c.name = which"
        " RETURNING c.value INTO value;"
        " ELSE SELECT c.value INTO value FROM counters c WHERE c.name = which; END IF;"
        " END $$",
        # In the order of their numbers, so that two that cross each other never wait for one
        # another.
        "CREATE FUNCTION transfer(wanted uuid, source int, destination int, amount bigint, OUT "
        "applied boolean, OUT short boolean) LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM 1 FROM accounts WHERE number IN (source, destination) ORDER BY number FOR UPDATE;"
        " applied := false; short := false;"
        " IF EXISTS (SELECT FROM done WHERE id = wanted) THEN RETURN; END IF;"
        " SELECT balance < amount INTO short FROM accounts WHERE number = source;"
        " IF short THEN RETURN; END IF;"
        " INSERT INTO done (id) VALUES (wanted); applied := true;"
        " UPDATE accounts SET balance = balance + CASE WHEN number = source"
        " THEN -amount ELSE amount END WHERE number IN (source, destination);"
        " END $$",
        "CREATE FUNCTION set_balances(source int, source_after bigint, destination int, "
        "destination_after bigint) RETURNS SETOF int LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM 1 FROM accounts WHERE number IN (source, destination) ORDER BY number FOR UPDATE;"
        " RETURN QUERY UPDATE accounts SET balance = CASE WHEN number = source THEN source_after"
        " ELSE destination_after END WHERE number IN (source, destination) RETURNING number;"
        " END $$",
        "CREATE VIEW versions AS"  # noqa: S608
        " SELECT 'users/' || user_id || '/threads/' || id AS key, version FROM threads"
        " WHERE version IS NOT NULL UNION ALL"
        " SELECT 'users/' || t.user_id || '/threads/' || t.id, m.version FROM messages m JOIN "
        "threads t ON t.user_region = m.user_region AND t.id = m.thread_id"
        " WHERE m.version IS NOT NULL UNION ALL"
        f" SELECT 'shards/{shard}/counters/' || name, value FROM counters UNION ALL"
        f" SELECT 'shards/{shard}/accounts/' || number, balance FROM accounts",
    ]
