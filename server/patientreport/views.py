"""The pages of the patient's reports. Nothing of them is kept by a browser or a proxy."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, Fact, append
from server.auth import Actor, actor_of, set_cookie
from server.errors import NotFound
from server.joinlink import DEVICE_CODE_DIGITS, REPORT_TERM, LinkPhase, link_phase
from server.models import Appointment, Organisation, Report, Visit, VisitState
from server.patientreport.codes import OPEN_FOR, NoCode, Use, is_open, issue_code, use_code
from server.report.keep import load_reports, open_content
from server.report.pagewords import describe_pages
from server.report.state import current_reports
from server.sealed import open_report_pdf
from server.services import DATABASE, KEYRING, PAGES, SETTINGS, now_of

_LONGEST_CODE: Final = 20


@dataclass(frozen=True, slots=True)
class _Reader:
    """The patient of this request, while the link opens reports."""

    actor: Actor
    visit: Visit
    organisation: Organisation
    now: datetime

    @property
    def here(self) -> str:
        return f"/v/{self.visit.locator}"


async def show_reports(request: web.Request) -> web.StreamResponse:
    """The list, or the question for the code."""
    return await _render(request)


async def send_code(request: web.Request) -> web.StreamResponse:
    """A code goes to the telephone or e-mail address of the booking."""
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        reader = await _load_reader(request, session)
        if not await _signed(session, reader):
            raise web.HTTPSeeOther(f"{reader.here}/end")
        try:
            token = await issue_code(session, request.app[KEYRING], reader.visit, actor, reader.now)
        except NoCode as error:
            token, problem = "", error.reason
    if not token:
        return await _render(request, status=409, problem=problem)
    response = web.Response(status=303, headers={"Location": f"{reader.here}/reports"})
    set_cookie(request, response, _cookie(request), token, OPEN_FOR * 2)
    return response


async def open_reports(request: web.Request) -> web.StreamResponse:
    """A right code opens the reports in this browser."""
    typed = "".join(str((await request.post()).get("code", ""))[:_LONGEST_CODE].split())
    if len(typed) != DEVICE_CODE_DIGITS or not typed.isascii() or not typed.isdigit():
        return await _render(request, status=400, problem="incomplete", is_asking=True)
    actor, token = actor_of(request), request.cookies.get(_cookie(request), "")
    async with request.app[DATABASE].begin(actor.organisation) as session:
        reader = await _load_reader(request, session)
        join_key = await request.app[KEYRING].load_secret(session, actor.organisation, "join")
        use = await use_code(session, join_key, reader.visit, actor, typed, token, reader.now)
    if use is Use.RIGHT:
        raise web.HTTPSeeOther(f"{reader.here}/reports")
    return await _render(request, status=403, problem=use.value, is_asking=use is Use.WRONG)


async def show_report(request: web.Request) -> web.StreamResponse:
    """One document, to read on the screen."""
    async with request.app[DATABASE].begin(actor_of(request).organisation) as session:
        reader, report = await _load_open(request, session)
        content = await open_content(request.app[KEYRING], session, report)
        await _write(session, reader, report, Act.REPORT_OPENED)
        reports = await _signed(session, reader)
    picture = base64.b64encode(content.picture.content).decode()
    return _page(
        request,
        reader,
        "patient/report.html",
        report=report,
        is_current=report in current_reports(reports),
        pages=describe_pages(content),
        picture=f"data:{content.picture.media_type};base64,{picture}",
    )


async def send_pdf(request: web.Request) -> web.StreamResponse:
    """The signed PDF, as a download."""
    async with request.app[DATABASE].begin(actor_of(request).organisation) as session:
        reader, report = await _load_open(request, session)
        pdf = await open_report_pdf(request.app[KEYRING], session, report)
        await _write(session, reader, report, Act.REPORT_DOWNLOADED)
    day = f"{report.signed_at:%Y-%m-%d}"
    return web.Response(
        body=pdf,
        content_type="application/pdf",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="referto-{day}-v{report.version}.pdf"',
        },
    )


# ---- what the pages share --------------------------------------------------------------


async def _load_reader(request: web.Request, session: AsyncSession) -> _Reader:
    """:raises HTTPSeeOther: the visit is not over, or the link opens no reports any more."""
    actor, now = actor_of(request), now_of(request)
    visit = await session.scalar(
        select(Visit)
        .where(Visit.id == actor.visit_id)
        .options(
            joinedload(Visit.appointment).options(
                joinedload(Appointment.patient), joinedload(Appointment.clinician)
            )
        )
    )
    if visit is None:
        raise NotFound
    if visit.state is not VisitState.ENDED:
        raise web.HTTPSeeOther(f"/v/{visit.locator}/check-in")
    if link_phase(visit, visit.appointment, now) is not LinkPhase.REPORT:
        raise web.HTTPSeeOther(f"/v/{visit.locator}")
    organisation = await session.get_one(Organisation, actor.organisation)
    return _Reader(actor, visit, organisation, now)


async def _signed(session: AsyncSession, reader: _Reader) -> list[Report]:
    """What the patient has: all signed documents, the oldest first."""
    return [
        report
        for report in await load_reports(session, reader.visit.id)
        if report.signed_at is not None
    ]


async def _load_open(request: web.Request, session: AsyncSession) -> tuple[_Reader, Report]:
    """The signed document of the address, for a browser that has passed the second factor.

    :raises HTTPSeeOther: it has not.
    :raises NotFound: not there, not signed, or of another visit.
    """
    reader = await _load_reader(request, session)
    token = request.cookies.get(_cookie(request), "")
    if not await is_open(session, reader.visit.id, token, reader.now):
        raise web.HTTPSeeOther(f"{reader.here}/reports")
    report = await session.get(Report, request.match_info["report_id"])
    if report is None or report.visit_id != reader.visit.id or report.signed_at is None:
        raise NotFound
    return reader, report


async def _write(session: AsyncSession, reader: _Reader, report: Report, act: Act) -> None:
    """A line in the log, and the moment when the patient read it for the first time."""
    report.first_read_at = report.first_read_at or reader.now
    facts: dict[str, Fact] = {"report": report.id, "version": report.version}
    entry = Entry(reader.now, act, ActorRole.PATIENT, reader.actor.id, reader.visit.id, facts)
    await append(session, reader.visit.organisation_id, entry)


async def _render(
    request: web.Request, *, status: int = 200, problem: str = "", is_asking: bool = False
) -> web.StreamResponse:
    token = request.cookies.get(_cookie(request), "")
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        reader = await _load_reader(request, session)
        reports = await _signed(session, reader)
        if not reports:
            raise web.HTTPSeeOther(f"{reader.here}/end")
        is_passed = await is_open(session, reader.visit.id, token, reader.now)
    current = current_reports(reports)
    return _page(
        request,
        reader,
        "patient/reports.html" if is_passed else "patient/report_code.html",
        status=status,
        current=current,
        replaced=[report for report in reversed(reports) if report not in current],
        is_asking=is_asking or (bool(token) and not problem),
        problem=problem,
    )


def _page(
    request: web.Request, reader: _Reader, template: str, *, status: int = 200, **context: Any
) -> web.Response:
    appointment = reader.visit.appointment
    return request.app[PAGES].render(
        request,
        template,
        status=status,
        organisation_name=reader.organisation.name,
        desk_phone=reader.organisation.desk_phone,
        here=reader.here,
        start=appointment.start,
        doctor=appointment.clinician.display_name if appointment.clinician else "",
        until=appointment.end + REPORT_TERM,
        **context,
    )


def _cookie(request: web.Request) -> str:
    """Binds the code, and what it opens, to the browser that asked for it."""
    prefix = "__Host-" if request.app[SETTINGS].is_https else ""
    return f"{prefix}report-{request.match_info['locator']}"
