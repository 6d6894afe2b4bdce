"""The page of the reports of one visit: what waits for a signature as the patient will see it, and
what is signed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, ActorRole, Entry, append
from server.auth import actor_of
from server.errors import InvalidInput, NotFound
from server.joinlink import REPORT_TERM
from server.models import Report, Signer, Submission
from server.report.cda import render_cda
from server.report.content import ReportContent
from server.report.keep import load_reports, load_submissions, open_content
from server.report.pagewords import describe_pages
from server.report.pdf import render_pdf
from server.report.state import current_reports, find_current, may_report, state_of
from server.reporting.drafts import CorrectionReason, Desk, Draft, open_draft
from server.reporting.picture import load_picture
from server.reporting.signature import find_login, load_desk
from server.sealed import open_identity, open_report_pdf
from server.services import DATABASE, FILES, KEYRING, PAGES


async def show_report(request: web.Request) -> web.StreamResponse:
    """The page; that it was opened is written down, and a first draft is begun."""
    return await render_page(request)


async def render_page(
    request: web.Request, *, status: int = 200, problem: str = "", problem_words: str = ""
) -> web.StreamResponse:
    """The page, with what kept the last act from happening."""
    actor = actor_of(request)
    keyring = request.app[KEYRING]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        desk = await load_desk(request, session)
        if not may_report(desk.visit):
            raise web.HTTPSeeOther(f"/visits/{desk.visit.id}")
        draft, missing = await _open_draft(request, desk)
        reports = await load_reports(session, desk.visit.id)
        current = find_current(reports)
        shown = await _open_shown(desk, draft, current)
        context = {
            "visit": desk.visit,
            "identity": await open_identity(keyring, session, desk.visit.appointment.patient),
            "state": state_of(reports, await load_submissions(session, reports)),
            "current": current,
            "documents": await _documents(session, reports),
            "has_signer": await session.get(Signer, actor.id) is not None,
            "is_pin_kept": await _is_pin_kept(request, session),
        }
    return request.app[PAGES].render(
        request,
        "staff/report.html",
        status=status,
        actor=actor,
        draft=draft.report if draft else None,
        missing=missing,
        pages=describe_pages(shown) if shown else None,
        picture=picture_url(shown) if shown else "",
        reasons=CorrectionReason,
        read_until=desk.visit.appointment.end + REPORT_TERM,
        problem=problem,
        problem_words=problem_words,
        **context,
    )


async def send_pdf(request: web.Request) -> web.StreamResponse:
    """The PDF of one document: as it was signed, or as it would be."""
    actor = actor_of(request)
    keyring = request.app[KEYRING]
    async with request.app[DATABASE].begin(actor.organisation) as session:
        desk = await load_desk(request, session)
        report = await find_report(session, desk.visit.id, request.match_info["report_id"])
        await desk.write(Act.REPORT_OPENED, report)
        pdf = await open_report_pdf(keyring, session, report)
        content = await open_content(keyring, session, report)
    if not pdf:
        cda = await asyncio.to_thread(render_cda, content)
        pdf = await asyncio.to_thread(render_pdf, content, cda)
    return pdf_response(pdf, report, is_inline=True)


async def find_report(session: AsyncSession, visit_id: str, report_id: str) -> Report:
    """:raises NotFound: not there, or of another visit."""
    report = await session.get(Report, report_id)
    if report is None or report.visit_id != visit_id:
        raise NotFound
    return report


def pdf_response(pdf: bytes, report: Report, *, is_inline: bool) -> web.Response:
    """The file, which no browser keeps; its name says nothing of the patient."""
    name = f"referto-{report.id[:8]}-v{report.version}.pdf"
    shown = "inline" if is_inline else "attachment"
    return web.Response(
        body=pdf,
        content_type="application/pdf",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'{shown}; filename="{name}"',
        },
    )


def picture_url(content: ReportContent) -> str:
    """The picture of a report inside its page: nothing has to be fetched for it."""
    picture = content.picture
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode()}"


async def _open_draft(request: web.Request, desk: Desk) -> tuple[Draft | None, InvalidInput | None]:
    """The draft, or what is missing before there can be one."""
    keyring, folder = request.app[KEYRING], request.app[FILES]
    picture = await load_picture(keyring, desk.session, folder, desk.visit.id)
    try:
        return await open_draft(desk, picture), None
    except InvalidInput as error:
        return None, error


async def _open_shown(
    desk: Desk, draft: Draft | None, current: Report | None
) -> ReportContent | None:
    """What the page shows, the draft before what is signed; that it was opened is written down, and
    without either that the patient's name was seen."""
    report = draft.report if draft else current
    if report is None:
        seen = Entry(desk.now, Act.CARD_OPENED, ActorRole.CLINICIAN, desk.author.id, desk.visit.id)
        await append(desk.session, desk.visit.organisation_id, seen)
        return None
    await desk.write(Act.REPORT_OPENED, report)
    if draft is not None:
        return draft.content
    return await open_content(desk.keyring, desk.session, report)


async def _is_pin_kept(request: web.Request, session: AsyncSession) -> bool:
    login = await find_login(request, session)
    return login is not None and login.sealed_signing_pin is not None


async def _documents(session: AsyncSession, reports: Sequence[Report]) -> list[dict[str, Any]]:
    """The signed documents as the page lists them, the newest first."""
    current = {report.id for report in current_reports(reports)}
    submissions: dict[str, Submission] = {
        submission.report_id: submission for submission in await load_submissions(session, reports)
    }
    return [
        {
            "report": report,
            "is_current": report.id in current,
            "submission": submissions.get(report.id),
        }
        for report in reversed(reports)
        if report.signed_at is not None
    ]
