"""A report out of the rows of a visit: what CUP said, the patient answered, the log holds, was
measured, and the clinician wrote.

Reads only. What a form cannot do without and is missing here is named (``InvalidInput``): nothing
is made up, and no invalid document leaves. The texts are cleaned once (:mod:`server.report.texts`),
so that the three forms say the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from server.errors import InvalidInput
from server.keyring import Keyring
from server.line.measured import load_measured
from server.line.presence import parse_line
from server.line.verdict import Limits
from server.models import CheckIn, LogEntry, Organisation, User, Visit
from server.report.chart import draw_chart
from server.report.content import (
    Address,
    Body,
    Document,
    IdentifierKind,
    Order,
    Patient,
    Picture,
    Professional,
    ReportContent,
    Session,
)
from server.report.happened import Record, session_of
from server.report.persons import (
    CODICE_FISCALE,
    ITALY,
    birth_place_of,
    identifier_of,
    residence_of,
)
from server.report.texts import clean, clean_line
from server.sealed import (
    NATIONAL_SECTIONS,
    Answers,
    Coding,
    Details,
    Identity,
    NoteContent,
    Section,
    open_answers,
    open_codice_fiscale,
    open_details,
    open_identity,
)

_MISSING: Final = "missing"
_CHART_CAPTION: Final = "Presenza delle persone e qualità del collegamento"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the rows of one visit hold, opened."""

    visit: Visit
    organisation: Organisation
    identity: Identity
    details: Details
    answers: Answers
    record: Record
    codice_fiscale: str
    """Of the author."""


async def compose(
    keyring: Keyring,
    session: AsyncSession,
    visit: Visit,
    *,
    author: User,
    document: Document,
    note: NoteContent,
    picture: Picture | None,
    now: datetime,
    limits: Limits,
) -> ReportContent:
    """Everything a report says. ``visit`` comes with appointment, patient and clinic; without a
    ``picture`` the chart is drawn; ``limits`` are those of the installation's settings.

    :raises InvalidInput: something that must be there is missing; the field says what.
    """
    facts = await _load_facts(keyring, session, visit, author)
    when = session_of(facts.record, limits, now)
    _check_document(document, facts)
    return ReportContent(
        document=document,
        patient=_patient_of(facts),
        author=_author_of(author, facts.codice_fiscale),
        body=_body_of(facts),
        order=_order_of(facts),
        session=when,
        sections=_sections_of(note, facts.details),
        question_codes=_clean_codes(note.question_codes),
        diagnosis_codes=_clean_codes(note.diagnosis_codes),
        services=_services_of(note, facts.details),
        picture=picture or _chart_of(when),
    )


async def _load_facts(
    keyring: Keyring, session: AsyncSession, visit: Visit, author: User
) -> _Facts:
    appointment = visit.appointment
    check_in = await session.get(CheckIn, visit.id)
    entries = await session.scalars(
        select(LogEntry)
        .where(LogEntry.visit_id == visit.id, LogEntry.entry != "")
        .order_by(LogEntry.id)
    )
    log = [parse_line(entry) for entry in entries]
    answers = await open_answers(keyring, session, check_in)
    return _Facts(
        visit=visit,
        organisation=await session.get_one(Organisation, visit.organisation_id),
        identity=await open_identity(keyring, session, appointment.patient),
        details=await open_details(keyring, session, appointment),
        answers=answers,
        record=Record(visit, log, await load_measured(session, visit.id), answers.companions),
        codice_fiscale=await open_codice_fiscale(keyring, session, author),
    )


def _check_document(document: Document, facts: _Facts) -> None:
    """National rules: the first version gives its id to the set (ERRORE-8), a later one names what
    it replaces (ERRORE-9); the number we gave a patient needs a region to be unique in."""
    if document.version == 1 and document.set_id != document.id:
        raise InvalidInput("document.set_id", "not_the_first_id")
    if document.version > 1 and not document.replaces_id:
        raise InvalidInput("document.replaces_id", _MISSING)
    kind = identifier_of(facts.identity, facts.visit.appointment.patient).kind
    if kind is IdentifierKind.REGIONAL and not facts.organisation.region_code:
        raise InvalidInput("organisation.region_code", _MISSING)


def _patient_of(facts: _Facts) -> Patient:
    identity = facts.identity
    if not clean_line(identity.family_name):
        raise InvalidInput("patient.family_name", _MISSING)
    return Patient(
        identifier=identifier_of(identity, facts.visit.appointment.patient),
        family_name=clean_line(identity.family_name),
        given_name=clean_line(identity.given_name),
        sex=identity.sex,
        birth_date=identity.birth_date,
        birth_place=_clean_address(birth_place_of(identity)),
        residence=_clean_address(residence_of(identity, facts.answers.address)),
        phone=clean_line(identity.phone),
        email=clean_line(identity.email),
    )


def _author_of(author: User, codice_fiscale: str) -> Professional:
    """ERRORE-42: who signs is named by codice fiscale."""
    code = clean_line(codice_fiscale).upper()
    if not code:
        raise InvalidInput("author.codice_fiscale", _MISSING)
    if not CODICE_FISCALE.fullmatch(code):
        raise InvalidInput("author.codice_fiscale", "not_an_identifier")
    if not clean_line(author.family_name):
        raise InvalidInput("author.family_name", _MISSING)
    return Professional(
        family_name=clean_line(author.family_name),
        given_name=clean_line(author.given_name),
        title=clean_line(author.title),
        codice_fiscale=code,
    )


def _body_of(facts: _Facts) -> Body:
    organisation, clinic = facts.organisation, facts.visit.appointment.clinic
    has_address = bool(organisation.street or organisation.city)
    address = Address(
        street=clean_line(organisation.street),
        postal_code=organisation.postal_code,
        city=clean_line(organisation.city),
        province=organisation.province,
        country=ITALY,
    )
    return Body(
        code=organisation.code,
        name=clean_line(organisation.name),
        ministry_code=organisation.ministry_code,
        region_code=organisation.region_code,
        address=address if has_address else Address(),
        phone=organisation.desk_phone,
        clinic_code=clinic.code if clinic else "",
        clinic_name=clean_line(clinic.name) if clinic else "",
        site_code=clinic.site_code if clinic else "",
        site_name=clean_line(clinic.site_name) if clinic else "",
        discipline_code=clinic.discipline_code if clinic else "",
        branch_code=clinic.branch_code if clinic else "",
    )


def _order_of(facts: _Facts) -> Order:
    """*Codice nosologico*: one per booking, as in what CUP is told of the visit."""
    appointment, details = facts.visit.appointment, facts.details
    return Order(
        booking_code=appointment.booking_code,
        nre=clean_line(details.nre),
        priority=appointment.priority,
        prescriber=clean_line(details.prescriber),
        prescribed_on=details.prescribed_on,
        booked_on=details.booked_on,
        starts_at=appointment.start,
        ends_at=appointment.end,
        exemption=clean_line(details.exemption),
        is_first_visit=appointment.is_first_visit,
        episode_code=f"{facts.organisation.code}.{appointment.booking_code}",
        regional_code=clean_line(details.regional_code),
    )


def _sections_of(note: NoteContent, details: Details) -> dict[Section, str]:
    """The national sections that say something; the question is CUP's where the note has none."""
    texts = {section: clean(note.text_of(section)) for section in NATIONAL_SECTIONS}
    texts[Section.QUESTION] = texts[Section.QUESTION] or clean(details.question)
    if not texts[Section.FINDINGS]:
        raise InvalidInput(Section.FINDINGS.value, _MISSING)
    return {section: text for section, text in texts.items() if text}


def _services_of(note: NoteContent, details: Details) -> list[Coding]:
    if done := _clean_codes(note.services):
        return done
    booked = Coding(
        system="services",
        code=clean_line(details.service_code),
        display=clean_line(details.service_name),
    )
    if not (booked.code or booked.display):
        raise InvalidInput("services", _MISSING)
    return [booked]


def _clean_codes(codings: Iterable[Coding]) -> list[Coding]:
    """One that says nothing is left out."""
    return [
        Coding(
            system=coding.system,
            code=clean_line(coding.code),
            display=clean_line(coding.display),
            list_version=coding.list_version,
        )
        for coding in codings
        if clean_line(coding.code + coding.display)
    ]


def _clean_address(address: Address) -> Address:
    return Address(
        street=clean_line(address.street),
        postal_code=clean_line(address.postal_code),
        city=clean_line(address.city),
        province=clean_line(address.province),
        country=clean_line(address.country),
    )


def _chart_of(session: Session) -> Picture:
    return Picture(media_type="image/png", content=draw_chart(session), caption=_CHART_CAPTION)
