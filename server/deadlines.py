"""PostgreSQL for asyncio with an end to every wait.

A server that is stopped, unreachable or *paused* (it has the connection and says nothing) costs
seconds, and each such failure is a lost connection to SQLAlchemy: the pool throws away what it
holds and recovers by itself. Everything else is that driver's.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NoReturn

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import (
    AsyncAdapt_asyncpg_connection,
    AsyncAdapt_asyncpg_dbapi,
    PGDialect_asyncpg,
)
from sqlalchemy.util.concurrency import await_

DRIVER: Final = "postgresql+deadlines"
CONNECT_SECONDS: Final = 3.0
_PING_SECONDS: Final = 2.0
_PART_SECONDS: Final = 0.2
_NOT_THERE: Final = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TooManyConnectionsError,
)
_CLOSED: Final = "connection is closed"
"""By these words the dialect knows that it is not the statement that is wrong."""


class Connection(AsyncAdapt_asyncpg_connection):
    """A connection that is given up when it does not answer in time."""

    __slots__ = ()

    async def _async_ping(self) -> None:
        async with asyncio.timeout(_PING_SECONDS):
            await super()._async_ping()  # type: ignore[no-untyped-call]

    async def _terminate_graceful_close(self) -> None:
        async with asyncio.timeout(_PART_SECONDS):
            await self._connection.close()
        self._transaction = None

    def _handle_exception(self, error: Exception) -> NoReturn:
        if isinstance(error, (OSError, TimeoutError)):
            self._terminate_force_close()
        super()._handle_exception(error)

    @classmethod
    def _handle_exception_no_connection(cls, dbapi: Any, error: Exception) -> NoReturn:
        if isinstance(error, _NOT_THERE):
            raise dbapi.InterfaceError(f"{_CLOSED}: {type(error).__name__}", error) from error
        super()._handle_exception_no_connection(dbapi, error)


class Module(AsyncAdapt_asyncpg_dbapi):
    def connect(self, *arguments: Any, **options: Any) -> Connection:
        options.setdefault("timeout", CONNECT_SECONDS)
        return await_(Connection.create(self, self.asyncpg.connect(*arguments, **options)))


class Dialect(PGDialect_asyncpg):
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        return Module(asyncpg)  # type: ignore[no-untyped-call]


registry.register(DRIVER.replace("+", "."), __name__, Dialect.__name__)
