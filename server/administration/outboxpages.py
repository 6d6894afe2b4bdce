"""What goes to CUP: every event with its state, and a new try for the dead ones."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import select

from server.administration.show import load_listing, load_sources, render
from server.auth import actor_of
from server.errors import InvalidInput
from server.models import EventState, OutboxEvent, Source
from server.outbox import retry_event
from server.services import DATABASE, now_of


async def list_events(request: web.Request) -> web.StreamResponse:
    """The events, the newest first; never whose visit they are about."""
    wanted = (
        select(OutboxEvent, Source.code)
        .join(Source, Source.id == OutboxEvent.source_id)
        .order_by(OutboxEvent.number.desc())
    )
    state, source_id = request.query.get("state", ""), request.query.get("source", "")
    if state:
        if state not in list(EventState):
            raise InvalidInput("state", "unknown")
        wanted = wanted.where(OutboxEvent.state == EventState(state))
    if source_id:
        wanted = wanted.where(OutboxEvent.source_id == source_id)
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        listing = await load_listing(session, wanted, request.query, "/admin/outbox")
        sources = await load_sources(session)
    return render(
        request,
        "outbox",
        listing=listing,
        sources=sources,
        states=list(EventState),
        state=state,
        source_id=source_id,
    )


async def retry(request: web.Request) -> web.StreamResponse:
    """Put a stuck event back into the queue."""
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        event_id = request.match_info["event_id"]
        await retry_event(session, event_id, by=actor.id, now=now_of(request))
    raise web.HTTPSeeOther("/admin/outbox")
