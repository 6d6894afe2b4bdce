"""The administrator's page: terms and legal holds."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web
from sqlalchemy import select

from server.auth import actor_of
from server.errors import AccantoError, InvalidInput
from server.i18n import ROME
from server.models import Kept, User
from server.retention.holds import HoldReason, lift_hold, load_holds, place_hold
from server.services import DATABASE, PAGES, now_of
from server.terms import LEAST_DAYS, MOST_DAYS, load_terms, set_term

_PATH = "/admin/retention"


async def show_retention(request: web.Request) -> web.StreamResponse:
    return await _show(request)


async def save_terms(request: web.Request) -> web.StreamResponse:
    """Keep the terms of all kinds, or none of them."""
    actor, form = actor_of(request), await request.post()
    wanted = {kept: _parse_days(kept, str(form.get(kept.value, ""))) for kept in Kept}
    async with request.app[DATABASE].begin(actor.organisation) as session:
        for kept, days in wanted.items():
            await set_term(session, actor.organisation, kept, days, now_of(request), actor.id)
    raise web.HTTPSeeOther(_PATH)


async def place(request: web.Request) -> web.StreamResponse:
    """Hold a visit by its id."""
    actor, form = actor_of(request), await request.post()
    reason, visit_id = str(form.get("reason", "")), str(form.get("visit", "")).strip()
    if reason not in list(HoldReason):
        raise InvalidInput("reason", "unknown")
    try:
        async with request.app[DATABASE].begin(actor.organisation) as session:
            await place_hold(session, visit_id, HoldReason(reason), now_of(request), actor.id)
    except AccantoError as error:
        return await _show(request, problem=error.code, status=error.status)
    raise web.HTTPSeeOther(_PATH)


async def lift(request: web.Request) -> web.StreamResponse:
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        await lift_hold(session, request.match_info["visit_id"], now_of(request), actor.id)
    raise web.HTTPSeeOther(_PATH)


def _parse_days(kept: Kept, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST_DAYS))):
        raise InvalidInput(kept.value, "not_a_number_of_days")
    return int(text)


async def _show(
    request: web.Request, *, problem: str = "", status: int = 200
) -> web.StreamResponse:
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        terms = await load_terms(session, actor.organisation)
        holds = await load_holds(session)
        users = {user.id: user.display_name for user in await session.scalars(select(User))}
    return request.app[PAGES].render(
        request,
        "admin/retention.html",
        status=status,
        actor=actor,
        now=now_of(request),
        stamp=_stamp,
        terms=terms,
        least=LEAST_DAYS,
        most=MOST_DAYS,
        holds=holds,
        users=users,
        reasons=list(HoldReason),
        problem=problem,
    )


def _stamp(moment: datetime) -> str:
    return moment.astimezone(ROME).strftime("%d/%m/%Y %H:%M")
