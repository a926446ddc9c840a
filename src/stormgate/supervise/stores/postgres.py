"""PostgreSQL: one query for all keys, one transaction that cannot write; every table looked through
row by row as text.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stormgate.net.deadline import Deadline
from stormgate.supervise.stores import (
    INFO,
    KeyRead,
    Looked,
    StoreReader,
    UnreadableError,
    batch,
)

if TYPE_CHECKING:
    import psycopg

# What holds rows of its own: partitions do, what they are partitions of does not.
_TABLES = (
    "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname),"
    " has_table_privilege(c.oid, 'SELECT')"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'm') AND n.nspname <> 'information_schema'"
    " AND n.nspname NOT LIKE 'pg\\_%%' ORDER BY 1"
)


class PostgresReader(StoreReader):
    """See the module. A `query` gives key and number: a row for each number of a key."""

    def reads(self) -> bool:
        return bool(self.store.query)

    def looks(self) -> bool:
        return True

    def read(self, keys: Sequence[str], deadline: Deadline) -> Iterator[KeyRead]:
        began_ns = time.monotonic_ns()
        with self._connection(deadline) as connection:
            rows = self._rows(connection, self.store.query, {"keys": list(keys)})
        found: dict[str, list[int]] = {}
        for row in rows:
            if len(row) != 2 or type(row[1]) is not int:
                raise UnreadableError("the query gives no rows of a key and a whole number")
            found.setdefault(str(row[0]), []).append(row[1])
        yield from batch(found, keys, began_ns)

    def look(self, canaries: Sequence[str], deadline: Deadline) -> Looked:
        sought = [*canaries, *([self.store.control] if self.store.control else [])]
        searched, counts = 0, dict.fromkeys(sought, 0)
        where: dict[str, str] = {}
        with self._connection(deadline) as connection:
            tables = self._rows(connection, _TABLES, {})
            hidden = [name for name, readable in tables if not readable]
            if hidden:
                raise UnreadableError(f"its user may not read {hidden[0]}")
            columns = ", ".join(
                f"count(*) FILTER (WHERE strpos(t::text, %(c{n})s) > 0)" for n in range(len(sought))
            )
            parameters = {f"c{n}": text for n, text in enumerate(sought)}
            for name, _ in tables:
                sql = f"SELECT count(*), {columns} FROM {name} t"  # noqa: S608 - quoted by itself
                rows, *found = self._rows(connection, sql, parameters)[0]
                searched += rows
                for text, count in zip(sought, found, strict=True):
                    counts[text] += count
                    if count and text not in where:
                        where[text] = f"{count} rows of {name}"
        control = counts[self.store.control] > 0 if self.store.control else None
        return Looked(searched, {c: where[c] for c in canaries if c in where}, control)

    def _connection(self, deadline: Deadline) -> psycopg.Connection[tuple[Any, ...]]:
        import psycopg

        host, address, port = self.endpoint(deadline)
        store, left_s = self.store, deadline.left()
        try:
            return psycopg.connect(
                host=host,
                hostaddr=address,
                port=port,
                dbname=store.database,
                user=self.filled(store.user) or None,
                password=self.filled(store.password) or None,
                application_name="stormgate",
                connect_timeout=max(2, round(left_s)),
                tcp_user_timeout=max(1000, round(left_s * 1000)),
                options="-c default_transaction_read_only=on"
                f" -c statement_timeout={max(1, round(left_s * 1000))}",
            )
        except psycopg.Error as error:
            raise UnreadableError(f"cannot connect: {error}") from None

    def _rows(
        self, connection: psycopg.Connection[tuple[Any, ...]], sql: str, parameters: dict[str, Any]
    ) -> list[tuple[Any, ...]]:
        import psycopg

        try:
            return connection.execute(sql.encode(), parameters).fetchall()
        except psycopg.errors.QueryCanceled as error:
            raise UnreadableError(f"did not answer in time: {error}", INFO) from None
        except psycopg.Error as error:
            raise UnreadableError(f"{type(error).__name__}: {error}") from None


READER = PostgresReader
