"""The page itself, and the ticket that its call asks for."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web

from server.audit import Act, append
from server.auth import Actor, actor_of
from server.caseload import LATE_CHOICES, STILL_TO_COME
from server.errors import Conflict
from server.i18n import time_with_seconds
from server.joinlink import ROOM_OPENS, LinkPhase, link_phase
from server.line.drawing import draw_line
from server.line.measured import Measured, Seat, load_measured
from server.line.verdict import limits_of
from server.models import Organisation, Outcome, Suitability, Visit
from server.pages import json_response
from server.rated import load_said, may_rate
from server.report.keep import load_reports
from server.report.state import find_current, find_draft, may_report
from server.roomseed import CLINICIAN_SEAT, seed_of
from server.services import DATABASE, HUB, KEYRING, PAGES, SETTINGS, now_of
from server.visit.acts import OVER, load_visit, make_entry
from server.visit.card import Card, load_card
from server.visit.checks import Ground
from server.visit.outcome import OutcomeReason
from signaling.messages import Role


async def show_visit(request: web.Request) -> web.StreamResponse:
    """The page; that the card was opened is written down."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = await load_visit(request, session)
        card = await load_card(request.app[KEYRING], session, visit, now)
        organisation = await session.get_one(Organisation, actor.organisation)
        await append(session, actor.organisation, make_entry(actor, now, Act.CARD_OPENED, visit.id))
        is_over = visit.state in OVER
        measured = await load_measured(session, visit.id) if is_over else Measured()
        reports = await load_reports(session, visit.id) if is_over else ()
        is_rated = may_rate(visit, now)
        rating = await load_said(session, visit, Seat.CLINICIAN) if is_rated else None
    return request.app[PAGES].render(
        request,
        "staff/visit_over.html" if is_over else "staff/visit.html",
        actor=actor,
        visit=visit,
        appointment=visit.appointment,
        card=card,
        grounds=Ground,
        outcomes=Outcome,
        reasons=[reason for reason in OutcomeReason if reason],
        is_room_open=link_phase(visit, visit.appointment, now) is LinkPhase.ROOM,
        room_opens_at=visit.appointment.start - ROOM_OPENS,
        is_room_past=now >= visit.appointment.start,
        late_choices=LATE_CHOICES if visit.state in STILL_TO_COME else (),
        suitabilities=Suitability,
        has_report=may_report(visit),
        is_report_signed=find_current(reports) is not None and find_draft(reports) is None,
        line=draw_line(measured, limits_of(request.app[SETTINGS])),
        time_with_seconds=time_with_seconds,
        rating=rating,
        rating_url=f"/visits/{visit.id}/rating",
        is_clinician=True,
        page_data=_page_data(actor, visit, card, now)
        | {"isRecordingAllowed": _may_record(organisation)},
    )


def _may_record(organisation: Organisation) -> bool:
    return organisation.is_recording_allowed and bool(organisation.recording_purposes)


def _page_data(actor: Actor, visit: Visit, card: Card, now: datetime) -> dict[str, object]:
    url = f"/visits/{visit.id}"
    return {
        "userId": actor.id,
        "visitId": visit.id,
        "state": visit.state,
        "start": visit.appointment.start.isoformat(),
        "peerName": card.identity.full_name,
        "deskPhone": card.desk_phone,
        "pageUrl": url,
        "ticketUrl": f"{url}/ticket",
        "noteUrl": f"{url}/note",
        "filesUrl": f"{url}/files",
        "stillUrl": f"{url}/still",
        "recordingUrl": f"{url}/recording",
        "identityUrl": f"{url}/identity",
        "eligibilityUrl": f"{url}/eligibility",
        "finishUrl": f"{url}/finish",
        "qualityUrl": f"{url}/quality",
        "verdictUrl": f"{url}/quality",
        "now": now.isoformat(),
        "verificationUrl": f"{url}/verification",
        "statesUrl": "/agenda/states",
        "isFirstVisit": visit.appointment.is_first_visit,
        "hasWaited": visit.waiting_since is not None,
    }


async def issue_ticket(request: web.Request) -> web.StreamResponse:
    """A right to open the socket of this room."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await load_visit(request, session)
        organisation = await session.get_one(Organisation, actor.organisation)
    if link_phase(visit, visit.appointment, now) is not LinkPhase.ROOM:
        raise Conflict("the room is not open")
    ticket = request.app[HUB].issue_ticket(
        visit.id, CLINICIAN_SEAT, Role.CLINICIAN, now, seed_of(visit, organisation)
    )
    return json_response({"ticket": ticket})
