"""Loading the rows of the table, two hundred at a time, each group in a read of its own: a long
export keeps no transaction open, and what is written meanwhile does no harm to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from server.auth import Actor
from server.db import Database
from server.keyring import Keyring
from server.line.measured import Seat
from server.models import Appointment, Clinic, Rating, Score, User, Visit, VisitSummary
from server.sessionexport.table.columns import Row
from server.summary import Wish

_ROWS_AT_ONCE: Final = 200
_PSEUDONYM_LENGTH: Final = 12
"""Pages show its first six; over many visits these are too few to tell people apart."""


@dataclass(frozen=True, slots=True)
class _Names:
    clinics: dict[str, str]
    clinicians: dict[str, User]


async def load_rows(
    database: Database, keyring: Keyring, actor: Actor, wish: Wish
) -> AsyncIterator[list[Row]]:
    """The visits that are asked for, the newest first."""
    names: _Names | None = None
    last: VisitSummary | None = None
    while True:
        async with database.read(actor.organisation) as session:
            names = names or await _load_names(session)
            summaries = await _load_group(session, wish, last)
            rows = await _complete(session, keyring, actor, names, summaries)
        if rows:
            yield rows
        if len(summaries) < _ROWS_AT_ONCE:
            return
        last = summaries[-1]


async def _load_group(
    session: AsyncSession, wish: Wish, last: VisitSummary | None
) -> Sequence[VisitSummary]:
    wanted = wish.statement().limit(_ROWS_AT_ONCE)
    if last is not None:
        place = tuple_(VisitSummary.start, VisitSummary.visit_id)
        wanted = wanted.where(place < tuple_(last.start, last.visit_id))
    return list(await session.scalars(wanted))


async def _load_names(session: AsyncSession) -> _Names:
    clinics = await session.scalars(select(Clinic))
    users = await session.scalars(select(User))
    return _Names({one.id: one.name for one in clinics}, {one.id: one for one in users})


async def _complete(
    session: AsyncSession,
    keyring: Keyring,
    actor: Actor,
    names: _Names,
    summaries: Sequence[VisitSummary],
) -> list[Row]:
    ids = [each.visit_id for each in summaries]
    bookings = {
        visit_id: (code, patient_id)
        for visit_id, code, patient_id in await session.execute(
            select(Visit.id, Appointment.booking_code, Appointment.patient_id)
            .join(Visit.appointment)
            .where(Visit.id.in_(ids))
        )
    }
    scores = await _load_scores(session, ids)
    rows = []
    for summary in summaries:
        code, patient_id = bookings[summary.visit_id]
        clinician = names.clinicians.get(summary.clinician_id or "")
        pseudonym = await keyring.blind_index(session, actor.organisation, "pseudonym", patient_id)
        rows.append(
            Row(
                summary=summary,
                booking_code=code,
                pseudonym=pseudonym[:_PSEUDONYM_LENGTH].upper(),
                clinic=names.clinics.get(summary.clinic_id or "", ""),
                clinician=clinician.display_name if clinician else "",
                profession=clinician.profession.value if clinician else "",
                scores=scores.get(summary.visit_id, {}),
            )
        )
    return rows


async def _load_scores(
    session: AsyncSession, ids: Sequence[str]
) -> dict[str, dict[tuple[Seat, str], Score]]:
    rows = await session.execute(
        select(Rating.visit_id, Rating.seat, Rating.visit_score, Rating.line_score).where(
            Rating.visit_id.in_(ids)
        )
    )
    found: dict[str, dict[tuple[Seat, str], Score]] = {}
    for visit_id, seat, visit_score, line_score in rows:
        given = {(Seat(seat), "visit"): visit_score, (Seat(seat), "line"): line_score}
        known = {what: score for what, score in given.items() if score is not None}
        found.setdefault(visit_id, {}).update(known)
    return found
