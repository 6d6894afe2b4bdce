"""What happens around every request: errors, security headers, cross-site protection.

Order, outermost first: :func:`answer_errors`, :func:`refuse_cross_site`. Headers are set by
:func:`add_security_headers` on every answer, also on those that a middleware makes.
"""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy.exc import SQLAlchemyError

from recordings.vault import SealBroken
from server.alarms import ALARMS
from server.db import is_away, name_cause
from server.errors import (
    AccantoError,
    Erased,
    Forbidden,
    InvalidInput,
    LoginNeeded,
    TooManyAttempts,
    Unavailable,
    Unreadable,
)
from server.keyring import Shredded
from server.models import new_id
from server.pages import json_response
from server.services import ORIGINS, PAGES, SETTINGS

logger = logging.getLogger(__name__)

TOKEN_DOORS: Final = "/fhir"  # noqa: S105 -- a path
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self), "
    "autoplay=(self), screen-wake-lock=(self), geolocation=(), payment=(), usb=()",
    "X-Robots-Tag": "noindex",
}


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler of ``on_response_prepare``. A socket's 101 shows no page: it needs none."""
    if isinstance(response, web.WebSocketResponse):
        return
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.popall("Server", None)
    if request.app[SETTINGS].is_https:
        response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a page or JSON with an id; details go only to the log."""
    try:
        return await handler(request)
    except AccantoError as error:
        return _error_response(request, error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        wrapped = AccantoError()
        wrapped.code, wrapped.status = error.reason.lower().replace(" ", "_"), error.status
        return _error_response(request, wrapped)
    except Shredded:
        return _error_response(request, Erased())
    except SealBroken:
        return await _refuse_broken(request)
    except Exception as error:
        if is_away(error):
            logger.warning("database unavailable cause=%s", name_cause(error))
            return _error_response(request, Unavailable())
        fault_id = new_id()
        logger.exception("request failed fault=%s method=%s", fault_id, request.method)
        return _error_response(request, error, fault_id)


@web.middleware
async def refuse_cross_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only our own pages may change anything (``security.md`` W6).

    Browsers say where a request comes from in ``Sec-Fetch-Site``, older ones in ``Origin``;
    a request that says neither does not come from our pages. ``Origin: null`` is what Chromium
    sends with a plain form under ``Referrer-Policy: no-referrer`` (Fetch §3.2). Behind
    :data:`TOKEN_DOORS` no cookie counts, so there is nothing that another site could borrow.
    """
    is_token_door = request.path.startswith(TOKEN_DOORS)
    if request.method not in _SAFE_METHODS and not is_token_door:
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site")
        is_ours = origin in request.app[ORIGINS]
        if site:
            is_ours = site == "same-origin" and (is_ours or origin in {None, "null"})
        if not is_ours:
            raise Forbidden("cross-site request")
    return await handler(request)


async def _refuse_broken(request: web.Request) -> web.StreamResponse:
    """Nothing of a record that does not open is shown; the alarm is in the log by then."""
    try:
        await request.app[ALARMS].write()
    except SQLAlchemyError as error:
        logger.warning("the alarm of a broken seal waits cause=%s", name_cause(error))
    return _error_response(request, Unreadable())


def wants_json(request: web.Request) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def _error_response(
    request: web.Request, error: Exception, fault_id: str | None = None
) -> web.StreamResponse:
    fault_id = fault_id or new_id()
    code = error.code if isinstance(error, AccantoError) else "internal"
    status = error.status if isinstance(error, AccantoError) else 500
    logger.info("request refused fault=%s code=%s status=%d", fault_id, code, status)
    headers = {}
    if isinstance(error, (TooManyAttempts, Unavailable)):
        headers["Retry-After"] = str(error.wait_seconds)
    if wants_json(request):
        content: dict[str, object] = {"code": code, "id": fault_id}
        if isinstance(error, InvalidInput):
            content |= {"field": error.field, "reason": error.reason}
        if isinstance(error, TooManyAttempts):
            content["wait_seconds"] = error.wait_seconds
        response = json_response(content, status=status)
    elif isinstance(error, LoginNeeded) and request.method == "GET":
        response = web.Response(status=303, headers={"Location": error.way_in})
    else:
        response = _render(request, error, fault_id, code, status)
    response.headers.update(headers)
    return response


def _render(
    request: web.Request, error: Exception, fault_id: str, code: str, status: int
) -> web.Response:
    pages = request.app[PAGES]
    if isinstance(error, Unavailable):
        is_repeatable = request.method == "GET"
        return pages.render(
            request,
            "unavailable.html",
            status=status,
            fault_id=fault_id,
            is_repeatable=is_repeatable,
            is_for_patient=request.path.startswith("/v/"),
        )
    return pages.render(request, "error.html", status=status, code=code, fault_id=fault_id)
