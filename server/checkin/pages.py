"""Around the four steps: where a patient goes on, the summary, the way out, the device test."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from aiohttp import web

from server.audit import Act
from server.auth import actor_of
from server.checkin.store import Progress, leave_waiting_room, load_progress, save_consents
from server.checkin.texts import consent_text
from server.joinlink import CHECK_IN_OPENS, ROOM_OPENS, LinkPhase, is_answer_open, link_phase
from server.models import ConsentKind, VisitState
from server.readiness import is_line_test_open
from server.report.keep import load_reports
from server.report.state import current_reports
from server.services import DATABASE, HUB, KEYRING, PAGES, SETTINGS, now_of

_CLOSED: Final = frozenset({LinkPhase.DEAD, LinkPhase.EXPIRED, LinkPhase.REPORT})
_STEPS_OPEN: Final = frozenset({LinkPhase.CHECK_IN, LinkPhase.ROOM})
_LIVE: Final = frozenset({VisitState.WAITING, VisitState.IN_VISIT})
_PARTICIPANT: Final = "patient"
_END: Final = "/end"


async def start_check_in(request: web.Request) -> web.StreamResponse:
    """Send the patient to where they are: the first step not done, the room, the end."""
    progress, now = await load_progress_of(request), now_of(request)
    phase = _phase(progress, now)
    way = _way_on(progress, phase)
    if way == _END and await _has_report(request, progress):
        way = "/reports"
    if way is not None:
        raise web.HTTPSeeOther(f"/v/{progress.visit.locator}{way}")
    if progress.is_refused:
        raise _go(progress, "in-person")
    if phase is LinkPhase.EARLY:
        opens_at = progress.visit.appointment.start - CHECK_IN_OPENS
        return render(request, progress, "patient/early.html", opens_at=opens_at)
    raise _go(progress, f"check-in/{progress.next_step}")


async def show_ready(request: web.Request) -> web.StreamResponse:
    """The summary, each part with its *change*, and the door of the waiting room when it is
    open."""
    progress = await load_open_progress(request)
    if not progress.is_complete:
        raise _go(progress, "check-in")
    appointment = progress.visit.appointment
    is_room_open = _phase(progress, now_of(request)) is LinkPhase.ROOM
    return render(
        request,
        progress,
        "patient/ready.html",
        answers=progress.answers,
        is_room_open=is_room_open or progress.visit.state in _LIVE,
        room_opens_at=appointment.start - ROOM_OPENS,
    )


async def show_device_test(request: web.Request) -> web.StreamResponse:
    """The test of camera, microphone and loudspeaker, days before too; nothing is saved."""
    progress = await load_progress_of(request)
    return render(request, progress, "patient/device_test.html", answers=progress.answers)


async def show_in_person(request: web.Request) -> web.StreamResponse:
    """The way out: what happens when the visit is not held in video."""
    progress = await load_progress_of(request)
    if not progress.is_refused:
        raise _go(progress, "check-in")
    return render(request, progress, "patient/in_person.html")


async def withdraw_consents(request: web.Request) -> web.StreamResponse:
    """Take back what was given, at any moment; whoever is in the room leaves it."""
    actor, now = actor_of(request), now_of(request)
    words = request.app[PAGES].translator(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        progress = await load_progress(session, request.app[KEYRING], actor)
        texts = [
            consent_text(kind, words, progress.organisation)
            for kind in ConsentKind
            if kind in progress.given
        ]
        await save_consents(session, actor, now, texts, act=Act.CONSENT_WITHDRAWN)
        await leave_waiting_room(session, actor)
    if texts:
        hub = request.app[HUB]
        await hub.disconnect(actor.visit_id, _PARTICIPANT, "consent_withdrawn")
    raise _go(progress, "in-person")


# ---- what the pages and the steps share ------------------------------------------------


async def load_progress_of(request: web.Request) -> Progress:
    """Where the patient of this request stands."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        return await load_progress(session, request.app[KEYRING], actor)


async def load_open_progress(request: web.Request) -> Progress:
    """The same, for a page of the check-in.

    :raises HTTPSeeOther: the check-in is not open (any more).
    """
    progress = await load_progress_of(request)
    require_open(progress, now_of(request))
    return progress


def require_open(progress: Progress, now: datetime) -> None:
    """:raises HTTPSeeOther: the check-in is not open (any more)."""
    if _phase(progress, now) not in _STEPS_OPEN and progress.visit.state not in _LIVE:
        raise _go(progress, "check-in")


def render(
    request: web.Request,
    progress: Progress,
    template: str,
    *,
    status: int = 200,
    **context: object,
) -> web.Response:
    """A page of this patient."""
    appointment, now = progress.visit.appointment, now_of(request)
    hours = request.app[SETTINGS].line_test_hours
    return request.app[PAGES].render(
        request,
        template,
        status=status,
        organisation_name=progress.organisation.name,
        desk_phone=progress.organisation.desk_phone,
        here=f"/v/{progress.visit.locator}",
        start=appointment.start,
        doctor=appointment.clinician.display_name if appointment.clinician else "",
        appointment=appointment,
        is_answer_open=is_answer_open(progress.visit, appointment, now),
        is_visit_near=_phase(progress, now) is LinkPhase.ROOM,
        is_line_test_open=is_line_test_open(progress.visit, appointment, now, hours),
        **context,
    )


async def _has_report(request: web.Request, progress: Progress) -> bool:
    async with request.app[DATABASE].read(progress.visit.organisation_id) as session:
        return bool(current_reports(await load_reports(session, progress.visit.id)))


def _go(progress: Progress, page: str) -> web.HTTPSeeOther:
    return web.HTTPSeeOther(f"/v/{progress.visit.locator}/{page}")


def _phase(progress: Progress, now: datetime) -> LinkPhase:
    return link_phase(progress.visit, progress.visit.appointment, now)


def _way_on(progress: Progress, phase: LinkPhase) -> str | None:
    """Out of the check-in: over, or already in the room. The link page says why it is closed."""
    state = progress.visit.state
    if state is VisitState.ENDED and phase is LinkPhase.REPORT:
        return _END
    if state in _LIVE and not progress.is_refused:
        return "/room"
    return "" if phase in _CLOSED else None
