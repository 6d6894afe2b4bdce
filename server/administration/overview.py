"""The first page of the administrator: what is wrong now, then every figure of the link."""

from __future__ import annotations

from aiohttp import web

from server.administration.health import find_troubles, load_health
from server.administration.show import render
from server.auth import actor_of
from server.fse.status import load_status
from server.models import Organisation
from server.services import DATABASE, now_of


async def show_overview(request: web.Request) -> web.StreamResponse:
    """Phase, sources, outbox and messages of the organisation."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        organisation = await session.get_one(Organisation, actor.organisation)
        health = await load_health(session, now)
        queue = await load_status(session)
    return render(
        request,
        "overview",
        organisation=organisation,
        health=health,
        queue=queue,
        findings=find_troubles(health, now),
    )
