"""Which person is meant: by codice fiscale, by a booking code, or by the id of the patient."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import OrganisationId
from server.keyring import Keyring
from server.models import Appointment, Organisation, Patient, PatientIdentifier


async def find_patients(
    keyring: Keyring, session: AsyncSession, text: str, organisation: str = ""
) -> list[Patient]:
    """The patients that a text names, at most one of each organisation for a codice fiscale.
    ``organisation``: the code or id of the only one to look in. The session is of all."""
    sought = text.strip()
    bodies = select(Organisation.id).order_by(Organisation.code)
    if organisation:
        bodies = bodies.where(
            or_(Organisation.code == organisation, Organisation.id == organisation)
        )
    found: dict[str, Patient] = {}
    for body in (await session.scalars(bodies)).all():
        for patient in await _find_in(keyring, session, body, sought):
            found[patient.id] = patient
    return list(found.values())


async def _find_in(
    keyring: Keyring, session: AsyncSession, organisation: OrganisationId, sought: str
) -> Iterable[Patient]:
    code = sought.replace(" ", "").upper()
    index = await keyring.blind_index(session, organisation, "codice_fiscale", code)
    aliases = select(PatientIdentifier.patient_id).where(
        PatientIdentifier.organisation_id == organisation,
        PatientIdentifier.identifier_index == index,
    )
    bookings = select(Appointment.patient_id).where(
        Appointment.organisation_id == organisation, Appointment.booking_code == sought
    )
    patients = select(Patient).where(
        Patient.organisation_id == organisation,
        or_(
            Patient.codice_fiscale_index == index,
            Patient.id == sought,
            Patient.id.in_(aliases),
            Patient.id.in_(bookings),
        ),
    )
    return (await session.scalars(patients)).all()
