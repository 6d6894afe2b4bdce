"""One step of the sequencer: numbers, tree and tiles for what has none, in one transaction."""

from __future__ import annotations

import logging
from base64 import b64decode
from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import leaf_of
from server.db import Base, OrganisationId, take_turn
from server.models import LogEntry, LogHead, LogTile
from server.tlog.tree import Frontier, root_of, split_hashes

logger = logging.getLogger(__name__)

TILE: Final = 256
MOST_AT_ONCE: Final = 4096
_NUMBER: Final = text(
    "UPDATE log_entry SET seq = :size + waiting.place"
    " FROM (SELECT id AS waiting_id, row_number() OVER (ORDER BY id) - 1 AS place FROM log_entry"
    "  WHERE organisation = :organisation AND seq IS NULL ORDER BY id LIMIT :most) AS waiting"
    " WHERE id = waiting.waiting_id RETURNING seq, visit_id, entry, leaf"
)
_HEADS: Final = Base.metadata.tables[LogHead.__tablename__]
_TILES: Final = Base.metadata.tables[LogTile.__tablename__]


@dataclass(frozen=True, slots=True)
class Numbered:
    """An entry that has its place."""

    seq: int
    visit: str | None
    entry: str
    leaf: bytes


async def find_unnumbered(session: AsyncSession) -> list[OrganisationId]:
    """The organisations with entries that have no number."""
    found = await session.scalars(
        select(LogEntry.organisation_id).where(LogEntry.seq.is_(None)).distinct()
    )
    return list(found)


async def number_entries(session: AsyncSession, organisation: OrganisationId) -> list[Numbered]:
    """Number the oldest of the entries that have none, a few thousand at most; the caller's
    transaction is for this alone. Nothing is left when there were fewer than ``MOST_AT_ONCE``."""
    await take_turn(session, f"log sequencer {organisation}")
    head = (
        await session.execute(
            select(_HEADS.c.size, _HEADS.c.frontier).where(_HEADS.c.organisation_id == organisation)
        )
    ).one()
    given = {"organisation": organisation, "size": head.size, "most": MOST_AT_ONCE}
    rows = (await session.execute(_NUMBER, given)).all()
    if not rows:
        return []
    numbered = [
        Numbered(row.seq, row.visit_id, row.entry, _leaf(row.seq, row.entry, row.leaf))
        for row in sorted(rows, key=lambda row: row.seq)
    ]
    frontier = Frontier.decode(head.size, head.frontier)
    frontier.extend(one.leaf for one in numbered)
    await session.execute(
        update(_HEADS)
        .where(_HEADS.c.organisation_id == organisation)
        .values(size=frontier.size, frontier=frontier.encode())
    )
    await _store_tiles(session, organisation, head.size, numbered)
    return numbered


def _leaf(seq: int, entry: str, stored: str | None) -> bytes:
    """The hash that the act has stored; verifiers will find an entry that was altered since."""
    computed = leaf_of(entry)
    if stored is not None and stored != computed:
        logger.error("log entry %d was altered before it had a number", seq)
    return b64decode(stored or computed)


async def _store_tiles(
    session: AsyncSession, organisation: OrganisationId, before: int, numbered: list[Numbered]
) -> None:
    """Keep every tile that is whole now and was not before, level by level."""
    level, new = 0, [one.leaf for one in numbered]
    while (before + len(new)) // TILE > before // TILE:
        begun = before // TILE * TILE
        older = await _load_hashes(session, organisation, level, begun, before)
        hashes = [*older, *new]
        groups = [hashes[at : at + TILE] for at in range(0, len(hashes) // TILE * TILE, TILE)]
        rows = [
            {
                "organisation_id": organisation,
                "level": level,
                "number": number,
                "hashes": b"".join(group),
            }
            for number, group in enumerate(groups, begun // TILE)
        ]
        await session.execute(insert(_TILES), rows)
        level, before, new = level + 1, begun // TILE, [root_of(group) for group in groups]


async def _load_hashes(
    session: AsyncSession, organisation: OrganisationId, level: int, start: int, end: int
) -> list[bytes]:
    """The tree's hashes ``start`` to ``end - 1`` of a level: leaves, else roots of whole tiles."""
    if level == 0:
        return await load_leaves(session, organisation, start, end)
    rows = select(LogTile.hashes).where(
        LogTile.organisation_id == organisation,
        LogTile.level == level - 1,
        LogTile.number >= start,
        LogTile.number < end,
    )
    tiles = await session.scalars(rows.order_by(LogTile.number))
    return [root_of(split_hashes(tile)) for tile in tiles]


async def load_leaves(
    session: AsyncSession, organisation: OrganisationId, start: int, end: int
) -> list[bytes]:
    """Leaf hashes by place, as the rows hold them.

    :raises LookupError: rows are missing.
    """
    rows = select(LogEntry.leaf).where(
        LogEntry.organisation_id == organisation, LogEntry.seq >= start, LogEntry.seq < end
    )
    found = [b64decode(leaf or "") for leaf in await session.scalars(rows.order_by(LogEntry.seq))]
    if len(found) != end - start:
        raise LookupError("entries of the session log are missing")
    return found
