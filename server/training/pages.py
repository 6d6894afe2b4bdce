"""The pages of training: choose a scenario, hold the practice, read the score sheet."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from recordings.bothost import BotHost, BotsBusy
from recordings.botwords import Orders
from server.auth import actor_of
from server.i18n import time_with_seconds
from server.models import VisitState
from server.pages import json_response
from server.services import DATABASE, KEYRING, LISTENING, PAGES, SETTINGS, now_of
from server.training.ground import begin_practice
from server.training.library import SCENARIOS, load_scenario
from server.training.practices import load_held, load_one
from server.training.scenario import load_shipped

BOTS: Final = web.AppKey("training_bots", BotHost)


async def show_training(request: web.Request) -> web.StreamResponse:
    """Scenarios to practise with, and the practices of today."""
    return await _show(request)


async def _show(request: web.Request, *, is_busy: bool = False) -> web.Response:
    actor, database = actor_of(request), request.app[DATABASE]
    async with database.read(actor.organisation) as session:
        own = await SCENARIOS.load_newest(session)
    return request.app[PAGES].render(
        request,
        "staff/training.html",
        status=429 if is_busy else 200,
        actor=actor,
        shipped=load_shipped().values(),
        own=own,
        offers=await SCENARIOS.load_offers(database, own, actor) if actor.is_facilitator else (),
        held=await load_held(database, actor),
        is_busy=is_busy,
    )


async def begin(request: web.Request) -> web.StreamResponse:
    """A visit for now, and its synthetic patient on the way."""
    actor, app = actor_of(request), request.app
    chosen = str((await request.post()).get("scenario", ""))
    async with app[DATABASE].read(actor.organisation) as session:
        scenario = await load_scenario(session, chosen)
    try:
        app[BOTS].check_room(actor.id)
    except BotsBusy:
        return await _show(request, is_busy=True)
    begun = await begin_practice(app[DATABASE], app[KEYRING], actor, scenario, now_of(request))
    settings = app[SETTINGS]
    orders = Orders(
        link=settings.base_url + begun.link_path,
        birth_date=scenario.patient.birth_date.isoformat(),
        script=scenario.script,
        endpoint=settings.media_endpoint,
        address=f"http://{app[LISTENING].authority}",
    )
    try:
        await app[BOTS].start(actor.id, orders)
    except BotsBusy:
        return await _show(request, is_busy=True)
    raise web.HTTPSeeOther(f"/training/practices/{begun.practice_id}")


async def show_practice(request: web.Request) -> web.StreamResponse:
    """What to do; once the visit has its outcome, the score sheet."""
    actor = actor_of(request)
    held = await load_one(request.app[DATABASE], actor, request.match_info["practice_id"])
    return request.app[PAGES].render(
        request,
        "staff/practice.html",
        actor=actor,
        held=held,
        scenario=held.scenario,
        visit=held.visit,
        is_over=held.visit.state is VisitState.ENDED,
        time_with_seconds=time_with_seconds,
        page_data={"stateUrl": f"{request.path}/state"},
    )


async def send_state(request: web.Request) -> web.StreamResponse:
    """Where its visit stands, for a page that waits for the patient."""
    actor = actor_of(request)
    held = await load_one(request.app[DATABASE], actor, request.match_info["practice_id"])
    return json_response({"state": held.visit.state})
