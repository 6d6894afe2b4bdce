"""Storing entries: in the transaction of their act, so that there is no act without one.

The numbers come later (:mod:`server.sequencing`): writers wait for nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit.entry import Entry, leaf_of
from server.db import Database, OrganisationId, take_turn
from server.footprint import note_acts
from server.models import LogEntry

_INSERT: Final = {
    "sqlite": text(
        "INSERT INTO log_entry (organisation, visit_id, entry, leaf)"
        " SELECT :organisation, json_extract(value, '$[0]'), json_extract(value, '$[1]'),"
        " json_extract(value, '$[2]') FROM json_each(:entries) ORDER BY key"
    ),
    "postgresql": text(
        "INSERT INTO log_entry (organisation, visit_id, entry, leaf)"
        " SELECT CAST(:organisation AS varchar), row ->> 0, row ->> 1, row ->> 2"
        " FROM json_array_elements(CAST(:entries AS json)) WITH ORDINALITY AS e (row, place)"
        " ORDER BY place"
    ),
}
"""All entries of a group travel as one JSON array and are stored in one step: with a step for
each the writer's thread and the event loop would wait for each other a thousand times."""
_encode: Final = msgspec.json.Encoder().encode


async def append(session: AsyncSession, organisation: OrganisationId, *entries: Entry) -> None:
    """Store entries in the caller's transaction.

    :raises LookupError: there is no such organisation.
    """
    await store(session, organisation, [(entry.visit, entry.canonical()) for entry in entries])
    note_acts(entry.act for entry in entries)


async def append_alone(database: Database, organisation: OrganisationId, entry: Entry) -> None:
    """:func:`append` in a transaction of its own: what was read is shown only after it."""
    async with database.begin(organisation) as session:
        await append(session, organisation, entry)


async def store_once(
    session: AsyncSession, organisation: OrganisationId, rows: Sequence[tuple[str, str]]
) -> None:
    """:func:`store` for rows that may be stored already: the answer to their commit was lost, or
    their writer was. Whoever may still be storing them had taken the same turn."""
    await take_turn(session, f"log group {organisation}")
    visits = {visit for visit, _ in rows}
    known = set(await session.scalars(select(LogEntry.entry).where(LogEntry.visit_id.in_(visits))))
    await store(session, organisation, [row for row in rows if row[1] not in known])


async def store_in_turn(
    session: AsyncSession, organisation: OrganisationId, rows: Sequence[tuple[str, str]]
) -> None:
    """:func:`store` for a group that :func:`store_once` would repeat."""
    await take_turn(session, f"log group {organisation}")
    await store(session, organisation, rows)


async def store(
    session: AsyncSession, organisation: OrganisationId, rows: Sequence[tuple[str | None, str]]
) -> None:
    """Visit and canonical text of each entry, in order.

    :raises LookupError: there is no such organisation.
    """
    packed = _encode([(visit, entry, leaf_of(entry)) for visit, entry in rows]).decode()
    group = {"organisation": organisation, "entries": packed}
    try:
        await session.execute(_INSERT[session.get_bind().dialect.name], group)
    except IntegrityError as error:
        raise LookupError("no log for this organisation") from error
