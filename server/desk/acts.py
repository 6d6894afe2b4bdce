"""The visit's page of the desk and the acts on it. Each act leaves its line in the session log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import msgspec
from aiohttp import web
from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.audit import Act, Entry, Fact, append
from server.auth import actor_of
from server.db import OrganisationId, count_changed
from server.desk.board import Line
from server.desk.contact import Contact, contact_of, read_contact
from server.desk.corrected import load_correction
from server.desk.lines import load_visit_line, today
from server.desk.linetests import load_told_tests
from server.desk.views import say_line
from server.errors import Conflict, InvalidInput, NotFound
from server.joinlink import JoinLink, LinkPhase, derive_link, link_phase
from server.mail.contacts import find_email, find_phone
from server.mail.queue import queue_message
from server.models import (
    Appointment,
    Device,
    MessageKind,
    Organisation,
    Patient,
    PatientMessage,
    User,
    UserRole,
    Visit,
)
from server.sealed import open_justification, seal_identity
from server.services import DATABASE, HUB, KEYRING, PAGES, SETTINGS, now_of
from signaling.reasons import ByeReason

_PATIENT = "patient"
_DEAD = frozenset({LinkPhase.DEAD, LinkPhase.EXPIRED})
_FIRST_BIRTH = date(1900, 1, 1)
_MOST_MESSAGES = 20


async def show_visit(request: web.Request) -> web.StreamResponse:
    """Identity, contact and booking of one visit; no word of the clinical card."""
    actor = actor_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        line = await _load_line(request, session)
        entry = _entry(request, Act.CONTACT_OPENED, line.visit, {})
        await append(session, actor.organisation, entry)
        return await _render(request, session, line)


async def correct_contact(request: web.Request) -> web.StreamResponse:
    """Keep a corrected contact, unless somebody else changed it since the page was opened."""
    actor = actor_of(request)
    form = await request.post()
    contact = read_contact(form)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        line = await _load_line(request, session)
        wrong = contact.wrong_fields()
        if wrong:
            return await _render(request, session, line, contact=contact, wrong=wrong)
        fields = contact.changed_fields(line.identity)
        if fields:
            patient = line.visit.appointment.patient
            await _raise_version(session, patient, str(form.get("version", "")))
            keyring, identity = request.app[KEYRING], contact.apply(line.identity)
            await seal_identity(keyring, session, patient, identity)
            facts: dict[str, Fact] = dict.fromkeys(fields, True)
            entry = _entry(request, Act.CONTACT_CORRECTED, line.visit, facts)
            await append(session, actor.organisation, entry)
    raise web.HTTPSeeOther(f"/desk/visits/{line.visit.id}#contact")


async def read_code(request: web.Request) -> web.StreamResponse:
    """Show the spoken code, to be read out on the telephone."""
    return await _reveal(request, Act.LINK_CODE_READ, "code")


async def read_link(request: web.Request) -> web.StreamResponse:
    """Show the whole link, to be read out, copied or printed."""
    return await _reveal(request, Act.LINK_READ, "link")


async def revoke_link(request: web.Request) -> web.StreamResponse:
    """End the link, and every device that holds it, at once. The next version is ready."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = (await _load_line(request, session)).visit
        if link_phase(visit, visit.appointment, now) in _DEAD:
            raise Conflict("the link is dead already")
        old = visit.link_version
        change = (
            update(Visit)
            .where(Visit.id == visit.id)
            .where(Visit.link_version == old)
            .values(link_version=old + 1, failed_claims=0, last_failed_claim_at=None)
        )
        if not await count_changed(session, change):
            raise Conflict("revoked by somebody else")
        await session.execute(
            update(Device)
            .where(Device.visit_id == visit.id)
            .where(Device.ended_at.is_(None))
            .values(ended_at=now)
        )
        await append(
            session,
            actor.organisation,
            _entry(request, Act.LINK_REVOKED, visit, {"version": old}),
            _entry(request, Act.LINK_ISSUED, visit, {"version": old + 1}),
        )
    await request.app[HUB].disconnect(visit.id, _PATIENT, ByeReason.REVOKED)
    raise web.HTTPSeeOther(f"/desk/visits/{visit.id}#code")


async def assign_clinician(request: web.Request) -> web.StreamResponse:
    """Give an appointment *to assign* to a clinician of the organisation."""
    actor, now = actor_of(request), now_of(request)
    form = await request.post()
    async with request.app[DATABASE].begin(actor.organisation) as session:
        visit = (await _load_line(request, session)).visit
        clinician = await session.scalar(
            _clinicians(actor.organisation).where(User.id == str(form.get("clinician", "")))
        )
        if clinician is None:
            raise InvalidInput("clinician", "unknown")
        change = (
            update(Appointment)
            .where(Appointment.id == visit.appointment_id)
            .where(Appointment.clinician_id.is_(None))
            .values(clinician_id=clinician.id, updated_at=now)
        )
        if not await count_changed(session, change):
            raise Conflict("assigned already")
        entry = _entry(request, Act.BOOKING_ASSIGNED, visit, {"clinician": clinician.id})
        await append(session, actor.organisation, entry)
    raise web.HTTPSeeOther(f"/desk/visits/{visit.id}#booking")


async def complete_birth_date(request: web.Request) -> web.StreamResponse:
    """Write the birth date that CUP did not say; one that is known is CUP's to change. The
    invitation, which waited for it, is then planned by itself."""
    actor, form = actor_of(request), await request.post()
    birth_date = _parse_birth_date(str(form.get("birth_date", "")), now_of(request))
    async with request.app[DATABASE].begin(actor.organisation) as session:
        line = await _load_line(request, session)
        if line.identity.birth_date is not None:
            raise Conflict("the birth date is known")
        if birth_date is None:
            return await _render(request, session, line, wrong=frozenset({"birth_date"}))
        patient = line.visit.appointment.patient
        await _raise_version(session, patient, str(form.get("version", "")))
        identity = msgspec.structs.replace(line.identity, birth_date=birth_date)
        await seal_identity(request.app[KEYRING], session, patient, identity)
        entry = _entry(request, Act.IDENTITY_COMPLETED, line.visit, {"birth_date": True})
        await append(session, actor.organisation, entry)
    raise web.HTTPSeeOther(f"/desk/visits/{line.visit.id}#booking")


async def resend_invitation(request: web.Request) -> web.StreamResponse:
    """Send the invitation again; twice within a minute is once."""
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        line = await _load_line(request, session)
        if not can_resend(line, now):
            raise Conflict("nothing can be sent for this booking")
        occasion = f"resend-{now:%Y-%m-%dT%H:%M}"
        await queue_message(session, line.visit, MessageKind.INVITATION, now, occasion=occasion)
        facts: dict[str, Fact] = {"version": line.visit.link_version, "resent": True}
        await append(
            session, actor.organisation, _entry(request, Act.LINK_ISSUED, line.visit, facts)
        )
    raise web.HTTPSeeOther(f"/desk/visits/{line.visit.id}#messages")


def can_resend(line: Line, now: datetime) -> bool:
    """Whether an invitation has a use and a way: a link that opens, a birth date, an address."""
    identity, visit = line.identity, line.visit
    is_reachable = bool(find_phone(identity.phone) or find_email(identity.email))
    is_dead = link_phase(visit, visit.appointment, now) in _DEAD
    return is_reachable and identity.birth_date is not None and not is_dead


def _parse_birth_date(text: str, now: datetime) -> date | None:
    """An ISO day, as ``<input type="date">`` sends it; none if it cannot be one's birth."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if _FIRST_BIRTH <= found <= today(now) else None


async def _load_messages(session: AsyncSession, visit: Visit) -> Sequence[PatientMessage]:
    found = await session.scalars(
        select(PatientMessage)
        .where(PatientMessage.visit_id == visit.id)
        .order_by(PatientMessage.created_at.desc())
        .limit(_MOST_MESSAGES)
    )
    return found.all()


async def _reveal(request: web.Request, act: Act, shown: str) -> web.StreamResponse:
    actor, now = actor_of(request), now_of(request)
    async with request.app[DATABASE].begin(actor.organisation) as session:
        line = await _load_line(request, session)
        visit = line.visit
        if link_phase(visit, visit.appointment, now) in _DEAD:
            raise Conflict("the link is dead")
        join_key = await request.app[KEYRING].load_secret(session, actor.organisation, "join")
        link = derive_link(join_key, visit.id, visit.link_version)
        entry = _entry(request, act, visit, {"version": visit.link_version})
        await append(session, actor.organisation, entry)
        return await _render(request, session, line, link=link, shown=shown)


async def _load_line(request: web.Request, session: AsyncSession) -> Line:
    line = await load_visit_line(request, session, request.match_info["visit_id"], now_of(request))
    if line is None:
        raise NotFound
    return line


async def _raise_version(session: AsyncSession, patient: Patient, seen: str) -> None:
    if seen != str(patient.identity_version):
        raise Conflict("the contact was changed meanwhile")
    change = (
        update(Patient)
        .where(Patient.id == patient.id)
        .where(Patient.identity_version == patient.identity_version)
        .values(identity_version=patient.identity_version + 1)
    )
    if not await count_changed(session, change):
        raise Conflict("the contact was changed meanwhile")
    await session.refresh(patient)


def _clinicians(organisation: OrganisationId) -> Select[User]:
    return (
        select(User)
        .where(User.organisation_id == organisation)
        .where(User.role == UserRole.CLINICIAN)
        .where(User.is_disabled.is_(False))
        .order_by(User.family_name, User.given_name)
    )


def _entry(request: web.Request, act: Act, visit: Visit, facts: dict[str, Fact]) -> Entry:
    actor = actor_of(request)
    return Entry(now_of(request), act, actor.role, actor.id, visit.id, facts)


async def _render(
    request: web.Request,
    session: AsyncSession,
    line: Line,
    *,
    link: JoinLink | None = None,
    shown: str = "",
    contact: Contact | None = None,
    wrong: frozenset[str] = frozenset(),
) -> web.Response:
    """``shown`` is ``code`` or ``link``: which secret of ``link`` the page says."""
    actor, visit = actor_of(request), line.visit
    organisation = await session.get_one(Organisation, actor.organisation)
    is_unassigned = visit.appointment.clinician_id is None
    clinicians = await session.scalars(_clinicians(actor.organisation)) if is_unassigned else ()
    base_url = request.app[SETTINGS].base_url
    words = request.app[PAGES].translator(request)
    address = f"{base_url}/v/{visit.locator}"
    return request.app[PAGES].render(
        request,
        "staff/desk_visit.html",
        status=400 if wrong else 200,
        actor=actor,
        said=say_line(words, line),
        line_tests=await load_told_tests(session, words, visit.id),
        organisation=organisation,
        clinicians=list(clinicians),
        phase=link_phase(visit, visit.appointment, now_of(request)),
        address=address,
        typing_address=f"{base_url}/v",
        code=link.spoken_code if link and shown == "code" else "",
        full_link=f"{address}#{link.fragment}" if link and shown == "link" else "",
        contact=contact or contact_of(line.identity),
        correction=await load_correction(session, visit),
        justification=await open_justification(request.app[KEYRING], session, visit),
        messages=await _load_messages(session, visit),
        can_resend=can_resend(line, now_of(request)),
        wrong=wrong,
    )
