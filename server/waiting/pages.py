"""The patient's pages: the room, which is the waiting room and then the call, and the end."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from aiohttp import web
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, append
from server.auth import actor_of
from server.consents import has_consented
from server.db import count_changed
from server.errors import Conflict, NotFound
from server.joinlink import LinkPhase, link_phase
from server.line.measured import Seat
from server.models import Appointment, CheckIn, Organisation, Visit, VisitState
from server.pages import json_response
from server.rated import load_said, may_rate
from server.report.keep import load_reports
from server.report.state import current_reports
from server.roomseed import PATIENT_SEAT, seed_of
from server.services import DATABASE, HUB, PAGES, SETTINGS, now_of
from signaling.messages import Role

_LIVE: Final = (VisitState.WAITING, VisitState.IN_VISIT)


async def enter(request: web.Request) -> web.StreamResponse:
    """The button of the check-in: from here on the patient waits."""
    actor, now = actor_of(request), now_of(request)
    locator = request.match_info["locator"]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await _load_visit(session, actor.visit_id)
        if visit.state not in _LIVE:
            if not await _may_wait(session, visit, now):
                raise web.HTTPSeeOther(f"/v/{locator}/check-in")
            change = (
                update(Visit)
                .where(Visit.id == visit.id)
                .where(Visit.state.in_((VisitState.BOOKED, VisitState.CHECKED_IN)))
                .values(state=VisitState.WAITING, waiting_since=now)
            )
            if await count_changed(session, change):
                entry = Entry(now, Act.WAITING, ActorRole.PATIENT, actor.id, visit.id)
                await append(session, actor.organisation, entry)
    raise web.HTTPSeeOther(f"/v/{locator}/room")


async def show_room(request: web.Request) -> web.StreamResponse:
    """The waiting room and the call."""
    actor, locator = actor_of(request), request.match_info["locator"]
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await _load_visit(session, actor.visit_id)
        organisation = await session.get_one(Organisation, actor.organisation)
        is_agreed = await has_consented(session, visit.id)
    if visit.state is VisitState.ENDED:
        raise web.HTTPSeeOther(f"/v/{locator}/end")
    if visit.state is VisitState.CANCELLED:
        raise web.HTTPSeeOther(f"/v/{locator}")
    if visit.state not in _LIVE or not is_agreed:
        raise web.HTTPSeeOther(f"/v/{locator}/check-in")
    doctor = visit.appointment.clinician.display_name if visit.appointment.clinician else ""
    return request.app[PAGES].render(
        request,
        "patient/room.html",
        organisation_name=organisation.name,
        desk_phone=organisation.desk_phone,
        visit=visit,
        doctor=doctor,
        locator=locator,
        here=f"/v/{locator}",
        most_mb=request.app[SETTINGS].files_max_mb,
        page_data=_room_data(request, visit, organisation, doctor),
    )


def _room_data(
    request: web.Request, visit: Visit, organisation: Organisation, doctor: str
) -> dict[str, object]:
    here = f"/v/{visit.locator}"
    return {
        "visitId": visit.id,
        "ticketUrl": f"{here}/ticket",
        "filesUrl": f"{here}/files",
        "stillUrl": f"{here}/still",
        "recordingUrl": f"{here}/recording",
        "qualityUrl": f"{here}/quality",
        "now": now_of(request).isoformat(),
        "state": visit.state,
        "start": visit.appointment.start.isoformat(),
        "doctor": request.app[PAGES].translator(request).with_article(doctor),
        "peerName": doctor,
        "deskPhone": organisation.desk_phone,
        "endUrl": f"{here}/end",
        "reloadUrl": f"{here}/room",
    }


async def issue_ticket(request: web.Request) -> web.StreamResponse:
    """A right to open the socket, for this patient, this room and the next seconds."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await _load_visit(session, actor.visit_id)
        organisation = await session.get_one(Organisation, actor.organisation)
        is_agreed = await has_consented(session, visit.id)
    if visit.state not in _LIVE or not is_agreed:
        raise Conflict(f"visit is {visit.state}")
    ticket = request.app[HUB].issue_ticket(
        visit.id, PATIENT_SEAT, Role.PATIENT, now_of(request), seed_of(visit, organisation)
    )
    return json_response({"ticket": ticket})


async def show_end(request: web.Request) -> web.StreamResponse:
    """What happens now, after the visit; how it went is asked here."""
    actor, locator = actor_of(request), request.match_info["locator"]
    now = now_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await _load_visit(session, actor.visit_id)
        organisation = await session.get_one(Organisation, actor.organisation)
        reports = await load_reports(session, visit.id)
        is_rated = may_rate(visit, now)
        rating = await load_said(session, visit, Seat.PATIENT) if is_rated else None
    if visit.state is VisitState.CANCELLED:
        raise web.HTTPSeeOther(f"/v/{locator}")
    if visit.state is not VisitState.ENDED:
        raise web.HTTPSeeOther(f"/v/{locator}/check-in")
    clinician = visit.appointment.clinician
    return request.app[PAGES].render(
        request,
        "patient/end.html",
        organisation_name=organisation.name,
        desk_phone=organisation.desk_phone,
        visit=visit,
        doctor=clinician.display_name if clinician else "",
        locator=locator,
        has_report=bool(current_reports(reports)),
        rating=rating,
        rating_url=f"/v/{locator}/rating",
        is_clinician=False,
    )


async def _load_visit(session: AsyncSession, visit_id: str) -> Visit:
    visit = await session.scalar(
        select(Visit)
        .where(Visit.id == visit_id)
        .options(joinedload(Visit.appointment).joinedload(Appointment.clinician))
    )
    if visit is None:
        raise NotFound
    return visit


async def _may_wait(session: AsyncSession, visit: Visit, now: datetime) -> bool:
    if link_phase(visit, visit.appointment, now) is not LinkPhase.ROOM:
        return False
    check_in = await session.get(CheckIn, visit.id)
    if check_in is None or check_in.completed_at is None:
        return False
    return await has_consented(session, visit.id)
