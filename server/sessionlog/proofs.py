"""Where each entry stands in the signed tree: its number, its leaf, and since when it is signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.models import LogCheckpoint, LogEntry


@dataclass(frozen=True, slots=True)
class Proof:
    """``leaf``: its hash, base64. ``signed_at`` is ``None`` until a checkpoint has it."""

    leaf: str
    size: int | None
    signed_at: datetime | None


async def load_proofs(session: AsyncSession, visit_id: str) -> Mapping[int, Proof]:
    """Of the numbered entries of a visit, by number: the first checkpoint that each is in."""
    first = (
        select(LogCheckpoint.size)
        .where(LogCheckpoint.organisation_id == LogEntry.organisation_id)
        .where(LogCheckpoint.size > LogEntry.seq)
        .order_by(LogCheckpoint.size)
        .limit(1)
        .correlate(LogEntry)
        .scalar_subquery()
    )
    rows = (
        await session.execute(
            select(LogEntry.seq, LogEntry.leaf, first.label("size")).where(
                LogEntry.visit_id == visit_id, LogEntry.seq.is_not(None)
            )
        )
    ).all()
    sizes = {row.size for row in rows}
    checkpoints = select(LogCheckpoint).where(LogCheckpoint.size.in_(sizes))
    times = {row.size: row.signed_at for row in await session.scalars(checkpoints)}
    return {
        seq: Proof(leaf or "", size, times.get(size)) for seq, leaf, size in rows if seq is not None
    }
