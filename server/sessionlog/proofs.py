"""Where each entry stands in the signed tree: its number, its leaf, and since when it is signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import Base
from server.models import LogCheckpoint, LogEntry, Visit

_ENTRIES: Final = Base.metadata.tables[LogEntry.__tablename__]
_CHECKPOINTS: Final = Base.metadata.tables[LogCheckpoint.__tablename__]


@dataclass(frozen=True, slots=True)
class Proof:
    """``leaf``: its hash, base64. ``signed_at`` is ``None`` until a checkpoint has it."""

    leaf: str
    size: int | None
    signed_at: datetime | None


async def load_proofs(session: AsyncSession, visit: Visit) -> Mapping[int, Proof]:
    """Of the numbered entries of a visit, by number: the first checkpoint that each is in.

    Asked of the tables themselves: with the organisation beside the visit SQLite would look
    through the whole log.
    """
    first = (
        select(_CHECKPOINTS.c.size)
        .where(_CHECKPOINTS.c.organisation_id == visit.organisation_id)
        .where(_CHECKPOINTS.c.size > _ENTRIES.c.seq)
        .order_by(_CHECKPOINTS.c.size)
        .limit(1)
        .scalar_subquery()
    )
    own = _ENTRIES.c.visit_id == visit.id
    rows = (
        await session.execute(
            select(_ENTRIES.c.seq, _ENTRIES.c.leaf, first.label("size")).where(own)
        )
    ).all()
    sizes = {row.size for row in rows if row.size is not None}
    checkpoints = await session.execute(
        select(LogCheckpoint.size, LogCheckpoint.signed_at).where(LogCheckpoint.size.in_(sizes))
    )
    times = {row.size: row.signed_at for row in checkpoints}
    return {
        seq: Proof(leaf or "", size, times.get(size)) for seq, leaf, size in rows if seq is not None
    }
