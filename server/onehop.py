"""SQLite for asyncio with one trip to the database's thread per statement.

SQLAlchemy's driver over aiosqlite makes four (cursor, execute, fetch, close), and each costs more
than most statements do. Everything else is that driver's.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from typing import Any, Final

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
    SQLiteDialect_aiosqlite,
)

DRIVER: Final = "sqlite+onehop"


class Cursor(AsyncAdapt_aiosqlite_cursor):
    """Runs a statement and holds its whole result; there is nothing to close afterwards."""

    __slots__ = ("_described", "_last_row", "_row_count")
    _awaitable_cursor_close = False

    def __init__(self, adapt_connection: AsyncAdapt_aiosqlite_connection) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection
        self._rows = deque()
        self._described: Any = None
        self._row_count = -1
        self._last_row = 0

    @property
    def description(self) -> Any:
        return self._described

    @property
    def rowcount(self) -> int:
        return self._row_count

    @property
    def lastrowid(self) -> int:
        return self._last_row

    def close(self) -> None:
        self._rows.clear()

    def setinputsizes(self, *inputsizes: Any) -> None:
        """SQLite has none."""

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        async with self._adapt_connection._execute_mutex:
            await self._visit_thread(sqlite3.Connection.execute, operation, parameters or ())

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        async with self._adapt_connection._execute_mutex:
            await self._visit_thread(sqlite3.Connection.executemany, operation, seq_of_parameters)

    async def _visit_thread(self, method: Any, operation: str, parameters: Any) -> None:
        connection: Any = self._connection
        await connection._execute(self._run, method, connection._conn, operation, parameters)

    def _run(self, method: Any, connection: sqlite3.Connection, sql: str, parameters: Any) -> None:
        cursor = method(connection, sql, parameters)
        self._described = cursor.description
        self._rows = deque(cursor.fetchall() if cursor.description else ())
        self._row_count = cursor.rowcount
        self._last_row = cursor.lastrowid
        cursor.close()


class Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()
    _cursor_cls = Cursor  # type: ignore[assignment]

    def commit(self) -> None:
        """A connection that is gone has committed nothing, and that driver would not say so."""
        if self._connection._connection is None:
            raise sqlite3.OperationalError("no active connection")
        super().commit()


class Module(AsyncAdapt_aiosqlite_dbapi):
    def connect(self, *arguments: Any, **options: Any) -> Connection:
        return Connection(self, super().connect(*arguments, **options)._connection)


class Dialect(SQLiteDialect_aiosqlite):
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Module:
        known = super().import_dbapi()
        return Module(known.aiosqlite, known.sqlite)


registry.register(DRIVER.replace("+", "."), __name__, Dialect.__name__)
