"""The entries as the database holds them today, whoever wrote them there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnClause,
    ColumnElement,
    LargeBinary,
    Text,
    and_,
    cast,
    column,
    func,
    inspect,
    select,
    table,
)
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import OrganisationId

Row = tuple[int, str]
"""``seq`` and text."""

_SPAN: Final = 16_384
_LAST: Final = 2**63 - 1
_SEQ: Final[ColumnClause[Any]] = column("seq")
_TABLE: Final = table(
    "log_entry", column("organisation"), column("visit_id"), _SEQ, column("entry")
)
_LINE_BREAKS: Final = str.maketrans("\n", "\r")
"""No entry was written with either: a line of the export must stay a line."""


async def read_rows(session: AsyncSession, organisation: OrganisationId) -> AsyncIterator[Row]:
    """Entries with a number, by number; double numbers too. A row whose number is none (SQLite
    lets a word stand there) is no entry."""
    if not await _has_table(session):
        return
    last = -_LAST
    while last < _LAST and (first := await _find_first(session, organisation, last)) is not None:
        last = min(first + _SPAN, _LAST)
        number = _number(session)
        for row in await _read(session, organisation, and_(number >= first, number <= last)):
            yield row


async def read_visit_rows(
    session: AsyncSession, organisation: OrganisationId, visit: str, size: int
) -> list[Row]:
    """The entries of one visit that have a number below ``size``."""
    is_wanted = and_(_TABLE.c.visit_id == visit, _number(session) < size)
    return await _read(session, organisation, is_wanted)


async def _has_table(session: AsyncSession) -> bool:
    def look(connection: Connection) -> bool:
        return inspect(connection).has_table(_TABLE.name)

    return await (await session.connection()).run_sync(look)


async def _find_first(
    session: AsyncSession, organisation: OrganisationId, after: int
) -> int | None:
    """The smallest number above ``after``."""
    number = _number(session)
    found = await session.scalar(
        select(func.min(number)).where(_TABLE.c.organisation == organisation, number > after)
    )
    return int(found) if isinstance(found, int | float) else None


async def _read(
    session: AsyncSession, organisation: OrganisationId, is_wanted: ColumnElement[bool]
) -> list[Row]:
    number = _number(session)
    rows = await session.execute(
        select(number.label("number"), _text(session).label("words"))
        .where(_TABLE.c.organisation == organisation, is_wanted)
        .order_by(number)
    )
    return [(int(row.number), _decode(row.words)) for row in rows]


def _number(session: AsyncSession) -> ColumnElement[Any]:
    """PostgreSQL compares numbers of one type only; for SQLite a cast would pass by the index."""
    return _SEQ if _is_sqlite(session) else cast(_SEQ, BigInteger)


def _text(session: AsyncSession) -> ColumnElement[Any]:
    """SQLite gives back bytes that are no UTF-8 in no other way."""
    return cast(_TABLE.c.entry, LargeBinary if _is_sqlite(session) else Text)


def _is_sqlite(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _decode(raw: bytes | str | None) -> str:
    words = raw.decode(errors="replace") if isinstance(raw, bytes) else raw or ""
    return words.translate(_LINE_BREAKS)
