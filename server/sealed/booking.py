"""Identities, bookings and what the patient answered: sealing and opening."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from server.keyring import Keyring, Place, visit_owner
from server.models import Appointment, CheckIn, Patient, Visit
from server.sealed.words import Answers, Details, Eligibility, Identity


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
    place = _place(check_in, check_in.visit_id, "answers", check_in.version)
    check_in.sealed_answers = await keyring.seal(session, place, msgspec.json.encode(answers))


async def open_answers(
    keyring: Keyring, session: AsyncSession, check_in: CheckIn | None
) -> Answers:
    """The answers so far; all *not answered* before the first."""
    if check_in is None:
        return Answers()
    place = _place(check_in, check_in.visit_id, "answers", check_in.version)
    plaintext = await keyring.unseal(session, place, check_in.sealed_answers)
    return msgspec.json.decode(plaintext, type=Answers)


async def seal_justification(
    keyring: Keyring, session: AsyncSession, visit: Visit, text: str
) -> None:
    """Keep the patient's words for a late cancellation; ``visit`` comes with its appointment."""
    place = _place(visit, visit.id, "justification", 1)
    visit.appointment.sealed_justification = await keyring.seal(session, place, text.encode())


async def open_justification(keyring: Keyring, session: AsyncSession, visit: Visit) -> str:
    sealed = visit.appointment.sealed_justification
    if sealed is None:
        return ""
    place = _place(visit, visit.id, "justification", 1)
    return (await keyring.unseal(session, place, sealed)).decode()


async def seal_eligibility(
    keyring: Keyring, session: AsyncSession, visit: Visit, eligibility: Eligibility
) -> None:
    place = _place(visit, visit.id, "eligibility", 1)
    visit.sealed_eligibility = await keyring.seal(session, place, msgspec.json.encode(eligibility))


async def open_eligibility(
    keyring: Keyring, session: AsyncSession, visit: Visit
) -> Eligibility | None:
    if visit.sealed_eligibility is None:
        return None
    place = _place(visit, visit.id, "eligibility", 1)
    plaintext = await keyring.unseal(session, place, visit.sealed_eligibility)
    return msgspec.json.decode(plaintext, type=Eligibility)


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


def _place(row: CheckIn | Visit, visit_id: str, field: str, version: int) -> Place:
    return Place(row.organisation_id, row.__tablename__, visit_id, field, version, visit=visit_id)
