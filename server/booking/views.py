"""The pages of the patient's answer. They work without JavaScript, and a GET changes nothing."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from server.auth import actor_of
from server.booking.store import (
    Standing,
    load_standing,
    save_cancel_request,
    save_confirmation,
)
from server.readiness import is_line_test_open
from server.services import DATABASE, KEYRING, PAGES, SETTINGS, now_of

_LONGEST_REASON: Final = 500


async def show_booking(request: web.Request) -> web.StreamResponse:
    """When, with whom, and what has been answered."""
    standing = await _load(request)
    if not standing.is_open:
        raise _go(standing, "check-in")
    return _render(request, standing, "patient/booking.html")


async def confirm(request: web.Request) -> web.StreamResponse:
    """*I confirm*."""
    actor, now = actor_of(request), now_of(request)
    start = str((await request.post()).get("start", ""))
    async with request.app[DATABASE].begin(actor.organisation) as session:
        standing = await load_standing(session, actor, now)
        if standing.can_confirm:
            if not standing.is_seen(start):
                return _render_moved(request, standing)
            await save_confirmation(session, actor, standing, now)
    raise _go(standing, "booking")


async def show_cancel(request: web.Request) -> web.StreamResponse:
    """What will happen, and until when it is free."""
    standing = await _load(request)
    if not standing.can_cancel:
        raise _go(standing, "booking")
    return _render(request, standing, "patient/booking_cancel.html")


async def ask_cancel(request: web.Request) -> web.StreamResponse:
    """*I cannot come*: a request to CUP. A late one needs a reason, and is never refused."""
    actor, now = actor_of(request), now_of(request)
    form = await request.post()
    reason = str(form.get("reason", "")).strip()[:_LONGEST_REASON]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        standing = await load_standing(session, actor, now)
        if standing.can_cancel:
            if not standing.is_seen(str(form.get("start", ""))):
                return _render_moved(request, standing)
            if standing.is_late and not reason:
                page = "patient/booking_cancel.html"
                return _render(request, standing, page, status=400, is_missing=True)
            keyring = request.app[KEYRING]
            await save_cancel_request(session, keyring, actor, standing, reason, now)
    raise _go(standing, "booking")


async def _load(request: web.Request) -> Standing:
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        return await load_standing(session, actor, now_of(request))


def _render_moved(request: web.Request, standing: Standing) -> web.Response:
    """The hour changed under the finger: it is shown, and asked again."""
    return _render(request, standing, "patient/booking.html", status=409, is_moved=True)


def _render(
    request: web.Request,
    standing: Standing,
    template: str,
    *,
    status: int = 200,
    is_missing: bool = False,
    is_moved: bool = False,
) -> web.Response:
    organisation, appointment = standing.organisation, standing.appointment
    hours = request.app[SETTINGS].line_test_hours
    return request.app[PAGES].render(
        request,
        template,
        status=status,
        organisation_name=organisation.name,
        desk_phone=organisation.desk_phone,
        here=f"/v/{standing.visit.locator}",
        standing=standing,
        start=appointment.start,
        seen=appointment.start.isoformat(),
        doctor=appointment.clinician.display_name if appointment.clinician else "",
        is_line_test_open=is_line_test_open(standing.visit, appointment, now_of(request), hours),
        is_missing=is_missing,
        is_moved=is_moved,
    )


def _go(standing: Standing, page: str) -> web.HTTPSeeOther:
    return web.HTTPSeeOther(f"/v/{standing.visit.locator}/{page}")
