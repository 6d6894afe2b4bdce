"""The page *Who has seen your data*."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, append
from server.auth import actor_of
from server.line.presence import parse_line
from server.models import Appointment, LogEntry, Organisation, Visit
from server.openings.grouped import group
from server.services import DATABASE, PAGES, now_of


async def show_openings(request: web.Request) -> web.StreamResponse:
    """By day, the newest first."""
    actor, now = actor_of(request), now_of(request)
    clinic = joinedload(Visit.appointment).joinedload(Appointment.clinic)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        entry = Entry(now, Act.OPENINGS_READ, ActorRole.PATIENT, actor.id, actor.visit_id)
        await append(session, actor.organisation, entry)
        visit = await session.get_one(Visit, actor.visit_id, options=[clinic])
        organisation = await session.get_one(Organisation, actor.organisation)
        rows = await session.scalars(
            select(LogEntry)
            .where(LogEntry.visit_id == visit.id, LogEntry.entry != "")
            .order_by(LogEntry.id)
        )
        days = group(map(parse_line, rows))
    clinic_of = visit.appointment.clinic
    return request.app[PAGES].render(
        request,
        "patient/openings.html",
        organisation_name=organisation.name,
        desk_phone=organisation.desk_phone,
        here=f"/v/{request.match_info['locator']}",
        visit=visit,
        clinic_name=clinic_of.name if clinic_of else organisation.name,
        days=days,
    )
