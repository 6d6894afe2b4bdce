"""What the buttons of the report page do: forms, so that it works without scripts."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from server.auth import actor_of
from server.errors import Conflict, InvalidInput
from server.models import Report
from server.report.keep import load_reports
from server.report.state import find_current, find_draft
from server.reporting.drafts import (
    CorrectionReason,
    Desk,
    begin_completion,
    begin_new_version,
    discard,
)
from server.reporting.picture import load_picture
from server.reporting.show import render_page
from server.reporting.signature import NotSigned, Problem, Wish, is_signed, load_desk, sign
from server.services import DATABASE, FILES, KEYRING

_LONGEST_PIN: Final = 64
_LONGEST_ADDENDUM: Final = 20_000


async def sign_report(request: web.Request) -> web.StreamResponse:
    """Sign what was on the screen; what keeps it from being signed is said on the same page. Two
    clicks on one button are one signature."""
    form = await request.post()
    seen = str(form.get("seen", ""))
    wish = Wish(
        report_id=str(form.get("report_id", "")),
        seen=int(seen) if seen.isascii() and seen.isdigit() else 0,
        pin=str(form.get("pin", ""))[:_LONGEST_PIN],
        is_obscured=form.get("obscured") == "yes",
        is_forced=form.get("forced") == "yes",
    )
    try:
        await sign(request, wish)
    except NotSigned as error:
        if error.reason == Problem.CHANGED and await is_signed(request, wish.report_id):
            raise _back(request) from error
        return await render_page(
            request, status=409, problem=error.reason, problem_words=error.words
        )
    raise _back(request)


async def begin_correction(request: web.Request) -> web.StreamResponse:
    """A new version from the note as it is now; the signed one counts until it is signed."""
    reason = str((await request.post()).get("reason", ""))
    actor, keyring = actor_of(request), request.app[KEYRING]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        desk = await load_desk(request, session)
        current = await _find_without_draft(desk)
        if reason not in set(CorrectionReason):
            raise InvalidInput("reason", "unknown_choice")
        picture = await load_picture(keyring, session, request.app[FILES], desk.visit.id)
        await begin_new_version(desk, current, CorrectionReason(reason), picture)
    raise _back(request)


async def begin_addendum(request: web.Request) -> web.StreamResponse:
    """A document of its own that completes the signed report."""
    text = str((await request.post()).get("text", "")).strip()
    if not text or len(text) > _LONGEST_ADDENDUM:
        return await render_page(request, status=400, problem="addendum_empty")
    async with request.app[DATABASE].begin(actor_of(request).organisation) as session:
        desk = await load_desk(request, session)
        await begin_completion(desk, await _find_without_draft(desk), text, None)
    raise _back(request)


async def give_up(request: web.Request) -> web.StreamResponse:
    """Drop the draft of a correction or an addendum."""
    async with request.app[DATABASE].begin(actor_of(request).organisation) as session:
        desk = await load_desk(request, session)
        if not await discard(desk):
            raise Conflict("there is no draft to give up")
    raise _back(request)


async def _find_without_draft(desk: Desk) -> Report:
    """The signed report of the visit.

    :raises Conflict: there is none, or another document waits for a signature already.
    """
    reports = await load_reports(desk.session, desk.visit.id)
    current = find_current(reports)
    if current is None or find_draft(reports) is not None:
        raise Conflict("there is no signed report, or a draft waits already")
    return current


def _back(request: web.Request) -> web.HTTPSeeOther:
    return web.HTTPSeeOther(f"/visits/{request.match_info['visit_id']}/report")
