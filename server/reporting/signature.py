"""The act of signing: the forms are made, the national record is asked, the PDF is signed, and then
everything that follows from it happens in one transaction.

Nothing is held open while a signature device or the gateway is waited for. Two tabs that sign the
same draft end with one signed document: the row changes only while it has no signature.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec
from aiohttp import web
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act
from server.auth import Actor, actor_of, hash_token, session_cookie
from server.caseload import load_visit_of
from server.db import count_changed
from server.line.verdict import limits_of
from server.mail.contacts import find_email, find_phone
from server.mail.queue import queue_message
from server.models import (
    DispatchState,
    MessageKind,
    Organisation,
    Report,
    User,
    UserSession,
    Visit,
)
from server.report.cda import render_cda
from server.report.content import ReportContent
from server.report.gateways import is_connected
from server.report.keep import load_reports, open_content, seal_content
from server.report.pdf import render_pdf
from server.report.queue import VALIDATE_BEFORE_SIGNATURE, Judgement, Standing, enqueue
from server.report.state import find_draft
from server.reporting.drafts import Desk, Draft
from server.sealed import open_identity, open_signing_pin, seal_report_forms, seal_signing_pin
from server.services import DATABASE, KEYRING, SETTINGS, now_of
from server.signing import SignerMeans, SigningRefused, load_means, sign_as


class Problem(StrEnum):
    """What keeps a draft from being signed, besides the words of :class:`SigningRefused`."""

    CHANGED = "changed"
    """The draft says something else now than when it was on the screen."""
    NO_SIGNER = "no_signer"
    PIN_MISSING = "pin_missing"
    WOULD_BE_REFUSED = "would_be_refused"
    """By the national record; the clinician may sign all the same."""


class NotSigned(Exception):
    """``reason`` is a :class:`Problem` or a word of the signature; ``words`` are the gateway's."""

    def __init__(self, reason: str, words: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.words = words


@dataclass(frozen=True, slots=True)
class Wish:
    """What the clinician confirmed on the page."""

    report_id: str
    seen: int
    """``content_version`` of what was on the screen."""
    pin: str = ""
    """Empty: the one that this login has given before."""
    is_obscured: bool = False
    is_forced: bool = False
    """Sign although the national record would refuse it."""


@dataclass(frozen=True, slots=True)
class _Paper:
    """Everything that is read before the signature."""

    draft: Draft
    organisation: Organisation
    means: SignerMeans
    pin: str


async def sign(request: web.Request, wish: Wish) -> None:
    """Sign the draft of a visit and send it on its ways.

    :raises NotSigned: nothing has happened.
    """
    actor, now = actor_of(request), now_of(request)
    paper = await _read(request, actor, wish)
    document = msgspec.structs.replace(
        paper.draft.content.document, created_at=now, is_obscured=wish.is_obscured
    )
    content = msgspec.structs.replace(paper.draft.content, document=document)
    cda = await asyncio.to_thread(render_cda, content)
    pdf = await asyncio.to_thread(render_pdf, content, cda)
    judgement = await _ask(request, paper.organisation, content, pdf)
    if judgement.standing is Standing.PROBLEMS and not wish.is_forced:
        raise NotSigned(Problem.WOULD_BE_REFUSED, judgement.words)
    try:
        signed = await sign_as(
            request.app[DATABASE],
            paper.means,
            paper.pin,
            pdf,
            now,
            tsa_url=request.app[SETTINGS].signing_tsa_url,
        )
    except SigningRefused as error:
        await _keep_pin(request, actor, "")
        raise NotSigned(error.reason) from error
    async with request.app[DATABASE].begin(actor.organisation) as session:
        desk = replace(await load_desk(request, session), now=now)
        report = await _put_signature(desk, content, wish, pdf=signed, cda=cda)
        await _send_on(request, desk, paper.organisation, report, judgement)
    await _keep_pin(request, actor, paper.pin)


async def load_desk(request: web.Request, session: AsyncSession) -> Desk:
    """The visit of this clinician with what its reports need. One act at a time: two tabs that
    open the page at once begin one draft.

    :raises NotFound: there is none, or it is not theirs.
    """
    actor = actor_of(request)
    visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
    await session.execute(select(Visit.id).where(Visit.id == visit.id).with_for_update())
    author = await session.get_one(User, actor.id)
    limits = limits_of(request.app[SETTINGS])
    return Desk(request.app[KEYRING], session, visit, author, now_of(request), limits)


async def is_signed(request: web.Request, report_id: str) -> bool:
    """Whether this document of the visit has its signature by now."""
    actor = actor_of(request)
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        report = await session.get(Report, report_id)
    if report is None or report.visit_id != visit.id:
        return False
    return report.signed_at is not None


async def find_login(request: web.Request, session: AsyncSession) -> UserSession | None:
    """The login of this browser: it keeps the PIN."""
    token = request.cookies.get(session_cookie(request), "")
    return await session.get(UserSession, hash_token(token))


async def _read(request: web.Request, actor: Actor, wish: Wish) -> _Paper:
    keyring = request.app[KEYRING]
    async with request.app[DATABASE].read(actor.organisation) as session:
        visit = await load_visit_of(session, actor.id, request.match_info["visit_id"])
        report = find_draft(await load_reports(session, visit.id))
        if report is None or (report.id, report.content_version) != (wish.report_id, wish.seen):
            raise NotSigned(Problem.CHANGED)
        means = await load_means(keyring, session, actor.id)
        if means is None:
            raise NotSigned(Problem.NO_SIGNER)
        login = await find_login(request, session)
        pin = wish.pin
        if not pin and login is not None:
            pin = await open_signing_pin(keyring, session, login)
        if not pin:
            raise NotSigned(Problem.PIN_MISSING)
        draft = Draft(report, await open_content(keyring, session, report))
        organisation = await session.get_one(Organisation, actor.organisation)
    return _Paper(draft, organisation, means, pin)


async def _ask(
    request: web.Request, organisation: Organisation, content: ReportContent, pdf: bytes
) -> Judgement:
    validate = request.app.get(VALIDATE_BEFORE_SIGNATURE)
    if validate is None:
        return Judgement(Standing.NOT_CONNECTED)
    return await validate(organisation, content, pdf)


async def _put_signature(
    desk: Desk, content: ReportContent, wish: Wish, *, pdf: bytes, cda: bytes
) -> Report:
    """Store the signed forms; a draft that was signed or changed meanwhile stays as it is."""
    taken = (
        update(Report)
        .where(Report.id == wish.report_id)
        .where(Report.signed_at.is_(None))
        .where(Report.content_version == wish.seen)
        .values(signed_at=desk.now)
    )
    if not await count_changed(desk.session, taken):
        raise NotSigned(Problem.CHANGED)
    report = await desk.session.get_one(Report, wish.report_id, populate_existing=True)
    report.content_version += 1
    report.is_obscured = wish.is_obscured
    report.pdf_sha256 = hashlib.sha256(pdf).hexdigest()
    await seal_content(desk.keyring, desk.session, report, content)
    await seal_report_forms(desk.keyring, desk.session, report, pdf=pdf, cda=cda)
    await desk.write(Act.REPORT_SIGNED, report, sha256=report.pdf_sha256)
    if report.is_obscured:
        await desk.write(Act.REPORT_OBSCURED, report)
    return report


async def _send_on(
    request: web.Request,
    desk: Desk,
    organisation: Organisation,
    report: Report,
    judgement: Judgement,
) -> None:
    """Tell the patient, and give the document its place on the way to the national record."""
    message = await queue_message(
        desk.session, desk.visit, MessageKind.REPORT, desk.now, occasion=report.id
    )
    identity = await open_identity(desk.keyring, desk.session, desk.visit.appointment.patient)
    is_reachable = bool(find_phone(identity.phone) or find_email(identity.email))
    if is_reachable and message.state is DispatchState.QUEUED:
        report.delivered_at = desk.now
        await desk.write(Act.REPORT_DELIVERED, report)
    if is_connected(request.app[SETTINGS], organisation.code):
        instance = judgement.workflow_instance_id
        await enqueue(desk.session, report, desk.now, workflow_instance_id=instance)


async def _keep_pin(request: web.Request, actor: Actor, pin: str) -> None:
    """Keep the PIN for this login; an empty one forgets it."""
    async with request.app[DATABASE].begin(actor.organisation) as session:
        login = await find_login(request, session)
        if login is None:
            return
        if pin:
            await seal_signing_pin(request.app[KEYRING], session, login, pin)
        else:
            login.sealed_signing_pin = None
