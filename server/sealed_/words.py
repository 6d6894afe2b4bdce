"""What is inside each sealed column, as types, and how it is opened and sealed.

The only place that names sealed fields: a page asks here for an identity or a card and never
builds a :class:`~server.keyring.Place` itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from server.keyring import Keyring, Place, visit_owner
from server.models import (
    Appointment,
    CheckIn,
    FhirResource,
    InboxMessage,
    Note,
    Patient,
    Source,
    Visit,
)


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who the patient is and how to reach them; texts as CUP wrote them, empty when unknown."""

    family_name: str = ""
    given_name: str = ""
    birth_date: date | None = None
    sex: str = ""
    """``M``, ``F`` or empty."""
    codice_fiscale: str = ""
    phone: str = ""
    email: str = ""
    address: str = ""
    team_card: str = ""
    """Number of the European health insurance card (TEAM)."""
    language: str = ""
    """``en`` when the patient reads no Italian; the messages are written in it."""

    @property
    def full_name(self) -> str:
        return f"{self.given_name} {self.family_name}".strip()


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What CUP says of the booking beyond time and place."""

    nre: str = ""
    question: str = ""
    """The prescriber's question (*quesito diagnostico*), shown as the reason."""
    service_code: str = ""
    """National nomenclature."""
    service_name: str = ""
    regional_code: str = ""
    """The region's own catalogue."""
    exemption: str = ""
    prescriber: str = ""
    agenda: str = ""
    """CUP's name of the agenda the slot is from."""
    prescribed_on: date | None = None
    booked_on: date | None = None
    offered_on: date | None = None
    """The first date CUP offered (waiting-time statistics, domain WL-06)."""
    interpreter: str = ""
    """Language an interpreter is needed for; empty: none."""


class Answers(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the patient answered at check-in; empty means *not answered*."""

    address: str = ""
    companions: str = ""
    """Who is with the patient, in free words."""
    camera: str = ""
    """``ok``, ``failed`` or ``skipped``; the same for the two below."""
    microphone: str = ""
    loudspeaker: str = ""


class Eligibility(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The clinician's gate of TV-03: one ground, and a reason for a first visit (TV-02)."""

    ground: str
    reason: str = ""


def _identity_place(patient: Patient) -> Place:
    return Place(
        patient.organisation_id, "patient", patient.id, "identity", patient.identity_version
    )


def _details_place(appointment: Appointment) -> Place:
    return Place(
        appointment.organisation_id,
        "appointment",
        appointment.id,
        "details",
        appointment.details_version,
    )


def _visit_place(row: CheckIn | Note | Visit, field: str, version: int) -> Place:
    visit_id = row.id if isinstance(row, Visit) else row.visit_id
    return Place(row.organisation_id, row.__tablename__, visit_id, field, version, visit=visit_id)


async def seal_identity(
    keyring: Keyring, session: AsyncSession, patient: Patient, identity: Identity
) -> None:
    """Set the patient's sealed identity; call after raising ``identity_version``."""
    patient.is_to_complete = identity.birth_date is None
    patient.sealed_identity = await keyring.seal(
        session, _identity_place(patient), msgspec.json.encode(identity)
    )


async def open_identity(keyring: Keyring, session: AsyncSession, patient: Patient) -> Identity:
    plaintext = await keyring.unseal(session, _identity_place(patient), patient.sealed_identity)
    return msgspec.json.decode(plaintext, type=Identity)


async def seal_details(
    keyring: Keyring, session: AsyncSession, appointment: Appointment, details: Details
) -> None:
    """Set the sealed details; call after raising ``details_version``."""
    appointment.sealed_details = await keyring.seal(
        session, _details_place(appointment), msgspec.json.encode(details)
    )


async def open_details(
    keyring: Keyring, session: AsyncSession, appointment: Appointment
) -> Details:
    plaintext = await keyring.unseal(
        session, _details_place(appointment), appointment.sealed_details
    )
    return msgspec.json.decode(plaintext, type=Details)


async def seal_answers(
    keyring: Keyring, session: AsyncSession, check_in: CheckIn, answers: Answers
) -> None:
    """Set the sealed answers; call after raising ``version``."""
    place = _visit_place(check_in, "answers", check_in.version)
    check_in.sealed_answers = await keyring.seal(session, place, msgspec.json.encode(answers))


async def open_answers(
    keyring: Keyring, session: AsyncSession, check_in: CheckIn | None
) -> Answers:
    """The answers so far; all *not answered* before the first."""
    if check_in is None:
        return Answers()
    place = _visit_place(check_in, "answers", check_in.version)
    plaintext = await keyring.unseal(session, place, check_in.sealed_answers)
    return msgspec.json.decode(plaintext, type=Answers)


async def seal_justification(
    keyring: Keyring, session: AsyncSession, visit: Visit, text: str
) -> None:
    """Keep the patient's words for a late cancellation; ``visit`` comes with its appointment."""
    place = _visit_place(visit, "justification", 1)
    visit.appointment.sealed_justification = await keyring.seal(session, place, text.encode())


async def open_justification(keyring: Keyring, session: AsyncSession, visit: Visit) -> str:
    sealed = visit.appointment.sealed_justification
    if sealed is None:
        return ""
    place = _visit_place(visit, "justification", 1)
    return (await keyring.unseal(session, place, sealed)).decode()


async def seal_message(
    keyring: Keyring, session: AsyncSession, message: InboxMessage, raw: bytes
) -> None:
    """Keep a message from CUP as it came."""
    message.sealed_raw = await keyring.seal(session, _message_place(message), raw)


async def open_message(keyring: Keyring, session: AsyncSession, message: InboxMessage) -> bytes:
    return await keyring.unseal(session, _message_place(message), message.sealed_raw)


async def seal_outgoing_token(
    keyring: Keyring, session: AsyncSession, source: Source, token: str
) -> None:
    """Keep the bearer token that CUP gave us for its own server."""
    place = _outgoing_token_place(source)
    source.sealed_outgoing_token = await keyring.seal(session, place, token.encode())


async def open_outgoing_token(keyring: Keyring, session: AsyncSession, source: Source) -> str:
    """The token; empty when there is none."""
    if source.sealed_outgoing_token is None:
        return ""
    place = _outgoing_token_place(source)
    return (await keyring.unseal(session, place, source.sealed_outgoing_token)).decode()


def _outgoing_token_place(source: Source) -> Place:
    return Place(source.organisation_id, "source", source.id, "outgoing_token", 1)


def _message_place(message: InboxMessage) -> Place:
    """Messages of a source share one key a month: shredding it forgets the month."""
    return Place(
        message.organisation_id,
        "inbox_message",
        message.id,
        "raw",
        1,
        key_owner=f"inbox:{message.source_id}:{message.received_at:%Y-%m}",
    )


async def seal_resource(
    keyring: Keyring, session: AsyncSession, resource: FhirResource, content: bytes
) -> None:
    """Keep a FHIR resource; call after setting ``version`` and ``updated_at``."""
    resource.sealed_content = await keyring.seal(session, _resource_place(resource), content)


async def open_resource(keyring: Keyring, session: AsyncSession, resource: FhirResource) -> bytes:
    """What :func:`seal_resource` kept; empty of a row that only names a message."""
    if resource.sealed_content is None:
        return b""
    return await keyring.unseal(session, _resource_place(resource), resource.sealed_content)


def _resource_place(resource: FhirResource) -> Place:
    """The month's key of the messages: what was sent with them is forgotten with them."""
    return Place(
        resource.organisation_id,
        "fhir_resource",
        resource.resource_index,
        "content",
        resource.version,
        key_owner=f"inbox:{resource.source_id}:{resource.updated_at:%Y-%m}",
    )


async def seal_eligibility(
    keyring: Keyring, session: AsyncSession, visit: Visit, eligibility: Eligibility
) -> None:
    place = _visit_place(visit, "eligibility", 1)
    visit.sealed_eligibility = await keyring.seal(session, place, msgspec.json.encode(eligibility))


async def open_eligibility(
    keyring: Keyring, session: AsyncSession, visit: Visit
) -> Eligibility | None:
    if visit.sealed_eligibility is None:
        return None
    place = _visit_place(visit, "eligibility", 1)
    plaintext = await keyring.unseal(session, place, visit.sealed_eligibility)
    return msgspec.json.decode(plaintext, type=Eligibility)


async def seal_note(keyring: Keyring, session: AsyncSession, note: Note, text: str) -> None:
    place = _visit_place(note, "text", note.version)
    note.sealed_text = await keyring.seal(session, place, text.encode())


async def open_note(keyring: Keyring, session: AsyncSession, note: Note) -> str:
    place = _visit_place(note, "text", note.version)
    return (await keyring.unseal(session, place, note.sealed_text)).decode()


async def warm_keys(keyring: Keyring, session: AsyncSession, visits: Iterable[Visit]) -> None:
    """Load in one query every key that a list of visits needs to show names and reasons.

    Each visit must have been loaded with its appointment.
    """
    visits = list(visits)
    for organisation in {visit.organisation_id for visit in visits}:
        owners = [
            owner
            for visit in visits
            if visit.organisation_id == organisation
            for owner in (
                f"patient:{visit.appointment.patient_id}",
                f"appointment:{visit.appointment_id}",
                visit_owner(visit.id),
            )
        ]
        await keyring.warm(session, organisation, owners)
