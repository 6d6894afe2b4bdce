"""Keeps measures: each row once, however often it is sent, and no more than a visit can have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import Base, OrganisationId
from server.errors import TooManyAttempts
from server.line.measured import Seat
from server.models import CallInterval, CallOutage
from server.quality.batch import Batch, IntervalRow, OutageRow

MOST_INTERVALS: Final = 10_000
"""Of one seat of one visit: seven hours, both directions, a row every five seconds."""
MOST_OUTAGES: Final = 1000
_TRY_AGAIN_SECONDS: Final = 3600


async def save_batch(
    session: AsyncSession, organisation: OrganisationId, visit_id: str, seat: Seat, batch: Batch
) -> None:
    """Write what is new of a batch.

    :raises TooManyAttempts: the visit has more rows than an honest page can make.
    """
    owner = {"organisation_id": organisation, "visit_id": visit_id, "seat": seat.value}
    await _refuse_flood(session, CallInterval, owner, len(batch.intervals), MOST_INTERVALS)
    await _refuse_flood(session, CallOutage, owner, len(batch.outages), MOST_OUTAGES)
    await _insert_new(session, CallInterval, _columns(batch.intervals, owner))
    await _insert_new(session, CallOutage, _columns(batch.outages, owner))


def _columns(
    rows: Sequence[IntervalRow] | Sequence[OutageRow], owner: Mapping[str, str]
) -> list[dict[str, Any]]:
    return [{**owner, **msgspec.structs.asdict(row)} for row in rows]


async def _refuse_flood(
    session: AsyncSession,
    table: type[CallInterval] | type[CallOutage],
    owner: Mapping[str, str],
    coming: int,
    most: int,
) -> None:
    if not coming:
        return
    known = await session.scalar(
        select(func.count())
        .select_from(table)
        .where(table.visit_id == owner["visit_id"], table.seat == owner["seat"])
    )
    if (known or 0) + coming > most:
        raise TooManyAttempts(_TRY_AGAIN_SECONDS)


async def _insert_new(
    session: AsyncSession, table: type[CallInterval] | type[CallOutage], rows: list[dict[str, Any]]
) -> None:
    if not rows:
        return
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    columns = Base.metadata.tables[table.__tablename__]
    await session.execute(dialect.insert(columns).on_conflict_do_nothing(), rows)
