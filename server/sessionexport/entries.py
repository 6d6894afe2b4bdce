"""The entries of visits, with whom they concern, a group of visits at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
from sqlalchemy import Row, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from server.auth import Actor
from server.db import Database, OrganisationId
from server.keyring import Keyring
from server.models import Appointment, LogEntry, Organisation, User, Visit, VisitSummary
from server.sessionexport.balp import Moment, Place, Written, parse_entry
from server.summary import Wish

_ENTRIES_AT_ONCE: Final = 500
_VISITS_AT_ONCE: Final = 10
"""Of some fifty entries each: what is made of them at once keeps the event loop for 30 ms."""
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class _Timed(msgspec.Struct):
    at: Moment


_decode_time: Final = msgspec.json.Decoder(_Timed).decode


@dataclass(frozen=True, slots=True)
class Found:
    """One entry. ``patient``: the pseudonym of whom its visit concerns."""

    seq: int | None
    written: Written
    patient: str


async def load_entries(
    database: Database, keyring: Keyring, actor: Actor, wish: Wish
) -> AsyncIterator[list[Found]]:
    """Of the visits that are asked for, visit by visit, the newest first."""
    wanted = wish.statement().with_only_columns(VisitSummary.start, VisitSummary.visit_id)
    place = tuple_(VisitSummary.start, VisitSummary.visit_id)
    after = wanted
    while True:
        async with database.read(actor.organisation) as session:
            visits = [
                (start, visit_id)
                for start, visit_id in await session.execute(after.limit(_VISITS_AT_ONCE))
            ]
            ids = [visit_id for _, visit_id in visits]
            found = await load_entries_of(session, keyring, actor, ids)
        if found:
            yield found
        if len(visits) < _VISITS_AT_ONCE:
            return
        after = wanted.where(place < tuple_(*visits[-1]))


async def load_whole_log(
    database: Database, keyring: Keyring, actor: Actor, wish: Wish
) -> AsyncIterator[list[Found]]:
    """All numbered entries of the days that are asked for, also those of no visit. The log is read
    from its beginning: entries are in the order in which they came, not in that of their times."""
    first, end = wish.bounds()
    last = -1
    while True:
        async with database.read(actor.organisation) as session:
            rows = list(
                await session.execute(
                    select(LogEntry.seq, LogEntry.visit_id, LogEntry.entry)
                    .where(LogEntry.organisation_id == actor.organisation, LogEntry.seq > last)
                    .order_by(LogEntry.seq)
                    .limit(_ENTRIES_AT_ONCE)
                )
            )
            wanted = [row for row in rows if first <= _time_of(row.entry) < end]
            found = await _complete(session, keyring, actor, wanted)
        if found:
            yield found
        if len(rows) < _ENTRIES_AT_ONCE:
            return
        last = rows[-1].seq


async def load_entries_of(
    session: AsyncSession, keyring: Keyring, actor: Actor, ids: Sequence[str]
) -> list[Found]:
    """Also those without a number so far."""
    rows = await session.execute(
        select(LogEntry.seq, LogEntry.visit_id, LogEntry.entry)
        .where(LogEntry.organisation_id == actor.organisation, LogEntry.visit_id.in_(ids))
        .order_by(LogEntry.id)
    )
    return await _complete(session, keyring, actor, list(rows))


async def _complete(
    session: AsyncSession,
    keyring: Keyring,
    actor: Actor,
    rows: Sequence[Row[int | None, str | None, str]],
) -> list[Found]:
    """Without what is erased, and what is no entry any more: a verifier says where."""
    ids = {visit_id for _, visit_id, _ in rows if visit_id}
    patients = {
        visit_id: await keyring.blind_index(session, actor.organisation, "pseudonym", patient_id)
        for visit_id, patient_id in await session.execute(
            select(Visit.id, Appointment.patient_id)
            .join(Visit.appointment)
            .where(Visit.id.in_(ids))
        )
    }
    found = []
    for seq, visit_id, text in rows:
        try:
            written = parse_entry(text)
        except msgspec.DecodeError:
            continue
        found.append(Found(seq, written, patients.get(visit_id or "", "")))
    return found


def _time_of(text: str) -> datetime:
    """When an entry was written; an erased one never."""
    try:
        return _decode_time(text).at
    except msgspec.DecodeError:
        return _NEVER


async def load_place(session: AsyncSession, organisation: OrganisationId, base_url: str) -> Place:
    """What all events of a file share."""
    body = await session.get_one(Organisation, organisation)
    users = await session.scalars(select(User))
    names = {user.id: user.display_name or user.username for user in users}
    return Place(base_url, body.code, body.name, names)
