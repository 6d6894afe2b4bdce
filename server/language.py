"""The language that a browser keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from aiohttp import web

from server.audit import leaves_none
from server.auth import PUBLIC, Route, set_cookie
from server.i18n import LANGUAGES
from server.pages import LANGUAGE_COOKIE

_LANGUAGE_KEPT: Final = timedelta(days=365)


async def choose_language(request: web.Request) -> web.StreamResponse:
    """Keep the language for this browser and go back to the page."""
    form = await request.post()
    language, back = str(form.get("language", "")), str(form.get("back", ""))
    is_own_page = back.startswith("/") and not back.startswith(("//", "/\\"))
    response = web.Response(status=303, headers={"Location": back if is_own_page else "/"})
    if language in LANGUAGES:
        set_cookie(request, response, LANGUAGE_COOKIE, language, _LANGUAGE_KEPT)
    return response


ROUTES: Final = (
    Route("POST", "/language", choose_language, PUBLIC, leaves_none("a cookie of the browser")),
)
