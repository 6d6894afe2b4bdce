"""The database: engine, sessions, and the one place where organisations are kept apart.

Every session is opened for one organisation, or for :data:`EVERY_ORGANISATION` by code that
says why. The organisation's criterion is added to each ORM statement here, so that a forgotten
``where`` shows nothing of another organisation (``security.md`` W2).
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, NewType, cast

from sqlalchemy import CursorResult, DateTime, Delete, Dialect, Enum, String, Update, event, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    ORMExecuteState,
    Session,
    mapped_column,
    with_loader_criteria,
)
from sqlalchemy.types import TypeDecorator

from server import deadlines, onehop

OrganisationId = NewType("OrganisationId", str)
EVERY_ORGANISATION: Final = OrganisationId("*")
COMMAND_SECONDS: Final = 8.0
"""A statement of a page or a worker that takes longer has met a database that does not answer."""
_POOL_SECONDS: Final = 10.0


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes in and out, on SQLite too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("naive datetime")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def word_column(words: type[StrEnum]) -> Enum:
    """A column that holds the value of a :class:`StrEnum` as text and gives the member back."""
    return Enum(
        words, native_enum=False, length=32, values_callable=lambda enum: [w.value for w in enum]
    )


class Base(DeclarativeBase):
    """Base of all rows."""


class OwnedByOrganisation:
    """Rows of one organisation: the criterion of the session is added to them."""

    organisation_id: Mapped[OrganisationId] = mapped_column(String(32), index=True)


@event.listens_for(Session, "do_orm_execute")
def _keep_organisations_apart(state: ORMExecuteState) -> None:
    organisation = state.session.info["organisation"]
    is_reached = state.is_orm_statement and not state.is_column_load
    if organisation != EVERY_ORGANISATION and is_reached:
        state.statement = state.statement.options(
            with_loader_criteria(
                OwnedByOrganisation,
                lambda row: row.organisation_id == organisation,
                include_aliases=True,
            )
        )


class Database:
    """Sessions over one engine. Reads and writes are opened apart because SQLite wants the
    write lock at the start of a transaction, not in its middle.

    ``command_seconds`` ends a statement that PostgreSQL does not answer; without it a command may
    take as long as it needs.
    """

    def __init__(self, url: str, command_seconds: float | None = None) -> None:
        address = make_url(url)
        if address.get_backend_name() == "sqlite":
            self.engine: AsyncEngine = create_async_engine(
                address.set(drivername=onehop.DRIVER), hide_parameters=True
            )
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        else:
            self.engine = create_async_engine(
                address.set(drivername=deadlines.DRIVER),
                pool_pre_ping=True,
                pool_timeout=_POOL_SECONDS,
                hide_parameters=True,
                connect_args={"command_timeout": command_seconds},
            )
        self._writing_engine = self.engine.execution_options(begin="IMMEDIATE")

    @asynccontextmanager
    async def read(self, organisation: OrganisationId) -> AsyncIterator[AsyncSession]:
        """A session that sees one organisation and writes nothing."""
        session = AsyncSession(
            self.engine, info={"organisation": organisation}, expire_on_commit=False
        )
        async with session:
            yield session

    @asynccontextmanager
    async def begin(self, organisation: OrganisationId) -> AsyncIterator[AsyncSession]:
        """A session in one transaction: committed at the end, rolled back by an exception."""
        session = AsyncSession(
            self._writing_engine, info={"organisation": organisation}, expire_on_commit=False
        )
        async with session, session.begin():
            yield session

    async def close(self) -> None:
        await self.engine.dispose()


_PASSING_OF_SQLITE: Final = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
)
_PASSING_OF_POSTGRESQL: Final = frozenset({"53", "57"})
"""Resources (a full disk, too many connections), and a server that is being stopped."""


def is_away(error: BaseException) -> bool:
    """Whether the database cannot be reached, is too busy or has no room: the same may work in a
    while."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return (
        error.connection_invalidated
        or getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _PASSING_OF_SQLITE
        or str(getattr(error.orig, "sqlstate", ""))[:2] in _PASSING_OF_POSTGRESQL
    )


def name_cause(error: BaseException) -> str:
    """The database's own word for what is wrong, for the log: ``SQLITE_FULL``, ``53100``…"""
    cause = getattr(error, "orig", error)
    for name in ("sqlite_errorname", "sqlstate"):
        if word := getattr(cause, name, None):
            return str(word)
    return type(cause).__name__


async def count_changed(session: AsyncSession, change: Update | Delete) -> int:
    """Run an ``UPDATE … WHERE`` or ``DELETE`` and say how many rows it met; nought means that
    somebody else was first. Rows that the session already holds keep their old values."""
    change = change.execution_options(synchronize_session=False)
    result = cast(CursorResult[Any], await session.execute(change))  # the type of every DML result
    return result.rowcount


async def take_turn(session: AsyncSession, name: str) -> None:
    """Wait until no other transaction has the turn of this name; it is kept until the end of this
    one. In SQLite a writing transaction has every turn."""
    if session.get_bind().dialect.name == "postgresql":
        number = int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)
        await session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def _configure_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=10000",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")
