"""A clinician takes over a visit that CUP gave to nobody known here.

The agenda shows such visits without a name; whoever takes one becomes its clinician. The desk
assigns in ``server.desk``.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from sqlalchemy import or_, select, update

from server.audit import Act, Entry, Fact, append, may_leave
from server.auth import CLINICIAN, Route, actor_of
from server.caseload import STILL_TO_COME
from server.db import count_changed
from server.errors import NotFound
from server.models import Appointment, Visit
from server.services import DATABASE, now_of


async def take(request: web.Request) -> web.StreamResponse:
    """Become the clinician of a visit *to assign*, and open it; one's own is only opened."""
    actor, now = actor_of(request), now_of(request)
    visit_id = request.match_info["visit_id"]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await session.scalar(
            select(Visit)
            .join(Visit.appointment)
            .where(Visit.id == visit_id)
            .where(Visit.state.in_(STILL_TO_COME))
            .where(or_(Appointment.clinician_id.is_(None), Appointment.clinician_id == actor.id))
        )
        if visit is None:
            raise NotFound
        change = (
            update(Appointment)
            .where(Appointment.id == visit.appointment_id)
            .where(Appointment.clinician_id.is_(None))
            .values(clinician_id=actor.id, updated_at=now)
        )
        if await count_changed(session, change):
            facts: dict[str, Fact] = {"clinician": actor.id}
            entry = Entry(now, Act.BOOKING_ASSIGNED, actor.role, actor.id, visit.id, facts)
            await append(session, actor.organisation, entry)
    raise web.HTTPSeeOther(f"/visits/{visit_id}")


ROUTES: Final = (
    Route(
        "POST",
        "/visits/{visit_id}/take",
        take,
        CLINICIAN,
        may_leave(Act.BOOKING_ASSIGNED, why="one's own is only opened"),
    ),
)
