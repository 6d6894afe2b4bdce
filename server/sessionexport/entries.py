"""The entries of visits, with whom they concern, a group of visits at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from server.auth import Actor
from server.db import Database, OrganisationId
from server.keyring import Keyring
from server.models import Appointment, LogEntry, Organisation, User, Visit, VisitSummary
from server.sessionexport.balp import Place, Written, parse_entry
from server.summary import Wish

_VISITS_AT_ONCE: Final = 10
"""Of some fifty entries each: what is made of them at once keeps the event loop for 30 ms."""


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


async def load_entries_of(
    session: AsyncSession, keyring: Keyring, actor: Actor, ids: Sequence[str]
) -> list[Found]:
    """Erased entries are left out: their content is gone."""
    patients = {
        visit_id: await keyring.blind_index(session, actor.organisation, "pseudonym", patient_id)
        for visit_id, patient_id in await session.execute(
            select(Visit.id, Appointment.patient_id)
            .join(Visit.appointment)
            .where(Visit.id.in_(ids))
        )
    }
    rows = await session.execute(
        select(LogEntry.seq, LogEntry.visit_id, LogEntry.entry)
        .where(LogEntry.organisation_id == actor.organisation, LogEntry.visit_id.in_(ids))
        .order_by(LogEntry.id)
    )
    found = []
    for seq, visit_id, text in rows:
        try:
            written = parse_entry(text)
        except msgspec.DecodeError:
            continue
        found.append(Found(seq, written, patients.get(visit_id or "", "")))
    return found


async def load_place(session: AsyncSession, organisation: OrganisationId, base_url: str) -> Place:
    """What all events of a file share."""
    body = await session.get_one(Organisation, organisation)
    users = await session.scalars(select(User))
    names = {user.id: user.display_name or user.username for user in users}
    return Place(base_url, body.code, body.name, names)
