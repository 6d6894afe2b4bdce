"""What only one process of an installation does: planning messages, talking with CUP.

The processes that share a database agree on one of them by a lock that dies with its holder: a
session's advisory lock in PostgreSQL, a locked file beside SQLite. The others try again and again.
For a moment after a lost connection two may believe that they lead: each worker claims what it
does, so that costs nothing but a wasted look. Not here: rooms, which belong to every process.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from aiohttp import web
from sqlalchemy import URL, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from server.db import Database

logger = logging.getLogger(__name__)

Lifetime = Callable[[web.Application], AsyncIterator[None]]
"""Starts a worker, yields, and stops it."""

LOCK_FILE: Final = "workers.lock"
_LOCK_NUMBER: Final = 0x4163_6361_6E74_6F31
_TRY_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 3.0
_KEEPALIVE: Final = {
    "tcp_keepalives_idle": "3",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
"""PostgreSQL gives the lock of a machine that is gone without a word to another one."""


class Lease(Protocol):
    """The right to lead."""

    async def acquire(self) -> bool:
        """Take it, unless somebody else has it."""

    async def is_held(self) -> bool:
        """Whether it is still ours."""

    async def release(self) -> None:
        """Give it back; nothing happens when it is not ours."""


class FileLease:
    """A locked file; the kernel frees it when its process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    async def acquire(self) -> bool:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    async def is_held(self) -> bool:
        return self._file is not None

    async def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class SessionLease:
    """An advisory lock of PostgreSQL, on a connection that is used for nothing else: with the
    connection the lock is gone. It needs a session of its own (no pooler by transaction)."""

    def __init__(self, url: URL) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"command_timeout": _ANSWER_SECONDS, "server_settings": _KEEPALIVE},
        )
        self._connection: AsyncConnection | None = None

    async def acquire(self) -> bool:
        self._connection = await self._engine.connect()
        statement = text("SELECT pg_try_advisory_lock(:number)")
        if await self._connection.scalar(statement, {"number": _LOCK_NUMBER}):
            return True
        await self.release()
        return False

    async def is_held(self) -> bool:
        if self._connection is None or self._connection.closed:
            return False
        try:
            await self._connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()


def lease_of(database: Database, data_dir: Path) -> Lease:
    """The lease of everybody who uses this database."""
    if database.engine.dialect.name == "postgresql":
        return SessionLease(database.engine.url)
    return FileLease(data_dir / LOCK_FILE)


class Leader:
    """Runs the workers in this process while it leads; else stands by."""

    def __init__(self, lease: Lease, workers: Sequence[Lifetime]) -> None:
        self._lease = lease
        self._workers = workers
        self._running: AsyncExitStack | None = None
        self._is_ending = False

    @property
    def is_leading(self) -> bool:
        return self._running is not None

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Try for the lead at once, so that a process that is alone begins with its workers."""
        await self._try(app)
        keeper = asyncio.create_task(self._keep(app))
        yield
        self._is_ending = True
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
        await self._step_down()

    async def _keep(self, app: web.Application) -> None:
        """A worker that is being stopped may swallow the cancellation of this task."""
        while not self._is_ending:
            await asyncio.sleep(_LOOK_SECONDS if self.is_leading else _TRY_SECONDS)
            if not self.is_leading:
                await self._try(app)
            elif not await self._lease.is_held():
                logger.warning("this process leads no longer: the lock is lost")
                await self._step_down()

    async def _try(self, app: web.Application) -> None:
        try:
            if not await self._lease.acquire():
                return
            self._running = AsyncExitStack()
            for worker in self._workers:
                await self._running.enter_async_context(asynccontextmanager(worker)(app))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            logger.warning("this process does not lead: %s", type(error).__name__)
            await self._step_down()
        else:
            logger.info("this process leads")

    async def _step_down(self) -> None:
        """Stop the workers first: nobody else may have the lock while they run."""
        running, self._running = self._running, None
        try:
            if running is not None:
                await running.aclose()
        except Exception:
            logger.exception("a worker did not stop cleanly")
        finally:
            await self._lease.release()


LEADER: Final = web.AppKey("leader", Leader)
