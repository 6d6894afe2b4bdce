"""The visit as a calendar file to download: the same event as in the messages."""

from __future__ import annotations

from aiohttp import web

from server.auth import actor_of
from server.checkin.store import load_progress
from server.mail.ics import ICS_NAME, render_ics
from server.services import DATABASE, KEYRING, PAGES, now_of


async def send_calendar(request: web.Request) -> web.StreamResponse:
    """``GET /v/{locator}/calendar.ics`` (RFC 5545)."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        progress = await load_progress(session, request.app[KEYRING], actor)
    words = request.app[PAGES].translator(request)
    return web.Response(
        body=render_ics(progress.visit, progress.organisation, words, now_of(request)),
        content_type="text/calendar",
        charset="utf-8",
        headers={"Content-Disposition": f'attachment; filename="{ICS_NAME}"'},
    )
