"""The two pages of the session log, and what they load."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import Actor, actor_of
from server.errors import NotFound
from server.i18n import time_with_seconds
from server.keyring import Keyring
from server.line.drawing import draw_line
from server.line.measured import load_measured
from server.line.verdict import limits_of
from server.models import Appointment, Clinic, LogEntry, Outcome, User, UserRole, Visit
from server.services import DATABASE, KEYRING, PAGES, SETTINGS, now_of
from server.sessionlog.filters import LONGEST_LIST, RESULTS, parse_wish
from server.sessionlog.timeline import draw, mark_row

_PSEUDONYM_LENGTH = 6
_BAD_OUTCOMES = frozenset(
    {Outcome.TECHNICAL_FAILURE, Outcome.CONVERTED_TO_IN_PERSON, Outcome.NO_SHOW_CLINICIAN}
)


@dataclass(frozen=True, slots=True)
class Row:
    """One visit of the list; ``booking_code`` is empty for who may not see bookings."""

    visit: Visit
    booking_code: str
    pseudonym: str
    minutes: int | None
    drops: int

    @property
    def has_problem(self) -> bool:
        return self.drops > 0 or self.visit.outcome in _BAD_OUTCOMES


async def list_sessions(request: web.Request) -> web.StreamResponse:
    """The visits of the organisation that a filter asks for."""
    actor, now = actor_of(request), now_of(request)
    wish = parse_wish(request.query, now)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visits = list(await session.scalars(wish.statement()))
        rows = await _load_rows(session, request.app[KEYRING], actor, visits)
        clinics = list(await session.scalars(select(Clinic).order_by(Clinic.name)))
        clinicians = list(
            await session.scalars(
                select(User).where(User.role == UserRole.CLINICIAN).order_by(User.family_name)
            )
        )
        if wish.is_problems_only:
            rows = [row for row in rows if row.has_problem]
        facts: dict[str, Fact] = {
            "visits": len(rows),
            "first_day": str(wish.first_day),
            "last_day": str(wish.last_day),
        }
        entry = Entry(now, Act.LOG_READ, actor.role, actor.id, facts=facts)
        await append(session, actor.organisation, entry)
    return request.app[PAGES].render(
        request,
        "staff/sessions.html",
        actor=actor,
        wish=wish,
        rows=rows,
        results=RESULTS,
        clinics=clinics,
        clinicians=clinicians,
        is_cut=len(visits) == LONGEST_LIST,
        longest_list=LONGEST_LIST,
    )


async def show_session(request: web.Request) -> web.StreamResponse:
    """One visit as a timeline."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await _load_visit(session, request.match_info["visit_id"])
        entry = Entry(now, Act.LOG_READ, actor.role, actor.id, visit.id)
        await append(session, actor.organisation, entry)
        await session.flush()
        [row] = await _load_rows(session, request.app[KEYRING], actor, [visit])
        entries = await session.scalars(
            select(LogEntry).where(LogEntry.visit_id == visit.id).order_by(LogEntry.id)
        )
        timeline = draw(list(entries))
        names = await _load_staff_names(session, {line.actor for line in timeline.lines})
        measured = await load_measured(session, visit.id)
    return request.app[PAGES].render(
        request,
        "staff/sessions_visit.html",
        actor=actor,
        row=row,
        timeline=timeline,
        visit=visit,
        line=draw_line(measured, limits_of(request.app[SETTINGS])),
        names=names,
        mark_row=mark_row,
        time_with_seconds=time_with_seconds,
        now=now,
    )


async def _load_visit(session: AsyncSession, visit_id: str) -> Visit:
    visit = await session.scalar(
        select(Visit)
        .where(Visit.id == visit_id)
        .options(
            joinedload(Visit.appointment).options(
                joinedload(Appointment.clinic), joinedload(Appointment.clinician)
            )
        )
    )
    if visit is None:
        raise NotFound
    return visit


async def _load_rows(
    session: AsyncSession, keyring: Keyring, actor: Actor, visits: Sequence[Visit]
) -> list[Row]:
    drops = await _count_drops(session, [visit.id for visit in visits])
    sees_bookings = actor.role is ActorRole.MANAGER
    rows: list[Row] = []
    for visit in visits:
        pseudonym = await keyring.blind_index(
            session, actor.organisation, "pseudonym", visit.appointment.patient_id
        )
        rows.append(
            Row(
                visit=visit,
                booking_code=visit.appointment.booking_code if sees_bookings else "",
                pseudonym=pseudonym[:_PSEUDONYM_LENGTH].upper(),
                minutes=_minutes(visit),
                drops=drops.get(visit.id, 0),
            )
        )
    return rows


def _minutes(visit: Visit) -> int | None:
    """How long the visit took, from the first admission to the end."""
    if visit.admitted_at is None or visit.ended_at is None:
        return None
    return round((visit.ended_at - visit.admitted_at) / timedelta(minutes=1))


async def _count_drops(session: AsyncSession, visit_ids: Sequence[str]) -> dict[str, int]:
    """Lost connections per visit. Entries are canonical JSON, so the act stands first."""
    start = f'{{"action":"{Act.ROOM_DROPPED}",'
    found = await session.execute(
        select(LogEntry.visit_id, func.count())
        .where(LogEntry.visit_id.in_(visit_ids))
        .where(LogEntry.entry.startswith(start, autoescape=True))
        .group_by(LogEntry.visit_id)
    )
    return {visit_id: count for visit_id, count in found if visit_id is not None}


async def _load_staff_names(session: AsyncSession, ids: Collection[str]) -> dict[str, str]:
    """Names of staff by id; patients and the platform are not among them."""
    users = await session.scalars(select(User).where(User.id.in_(ids)))
    return {user.id: user.display_name or user.username for user in users}
