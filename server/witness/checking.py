"""The page on which a browser verifies the log itself, with nothing of the server's word."""

from __future__ import annotations

from aiohttp import web

from server.auth import actor_of
from server.services import PAGES


async def show_check(request: web.Request) -> web.StreamResponse:
    """Nothing of the log is in the page: what it checks is asked for from there."""
    return request.app[PAGES].render(request, "staff/sessions_verify.html", actor=actor_of(request))
