"""A booking as we hold it, read back in FHIR: code, state and times, never a clinical word."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.cup.fhir.intake import APPOINTMENT, resource_index
from server.cup.fhir.tree import Resource
from server.cup.fhir.words import instant
from server.db import Database
from server.keyring import Keyring
from server.models import (
    Appointment,
    AppointmentStatus,
    FhirResource,
    Outcome,
    Source,
    Visit,
    VisitState,
)

_VISIT_STATUSES: Final = {
    VisitState.BOOKED: "booked",
    VisitState.CHECKED_IN: "checked-in",
    VisitState.WAITING: "checked-in",
    VisitState.IN_VISIT: "arrived",
    VisitState.CANCELLED: "cancelled",
}
_CHUNK: Final = 500
_SUBJECT: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
    "code": "SBJ",
}
_OUTCOME_STATUSES: Final = {Outcome.COMPLETED: "fulfilled", Outcome.NO_SHOW_PATIENT: "noshow"}


@dataclass(frozen=True, slots=True)
class Held:
    """A booking as we hold it, for reading back."""

    id: str
    appointment: Appointment
    visit: Visit

    @property
    def status(self) -> str:
        if self.appointment.status is AppointmentStatus.CANCELLED:
            return "cancelled"
        if self.visit.outcome is not None:
            return _OUTCOME_STATUSES.get(self.visit.outcome, "cancelled")
        return _VISIT_STATUSES.get(self.visit.state, "cancelled")

    @property
    def version(self) -> str:
        """Another one whenever CUP or the visit has changed what we answer."""
        appointment = self.appointment
        facts = (appointment.message_order, self.status, str(appointment.details_version))
        return hashlib.sha256("|".join(facts).encode()).hexdigest()[:16]


def render_appointment(held: Held) -> Resource:
    """Code, state and times; the booking itself is CUP's."""
    appointment = held.appointment
    return {
        "resourceType": "Appointment",
        "id": held.id,
        "meta": {"versionId": held.version, "lastUpdated": instant(appointment.updated_at)},
        "identifier": [{"value": appointment.booking_code}],
        "status": held.status,
        "start": instant(appointment.start),
        "end": instant(appointment.end),
        "participant": [{"type": [{"coding": [_SUBJECT]}], "status": "accepted"}],
    }


class Holdings:
    """The bookings of one source, whatever way they came."""

    def __init__(self, database: Database, keyring: Keyring, source: Source) -> None:
        self._database = database
        self._keyring = keyring
        self._source = source

    async def load(self, booking_codes: Collection[str]) -> dict[str, Held]:
        """The bookings with these codes, each under the id that CUP gave it or else ours."""
        held: dict[str, Held] = {}
        codes = sorted(set(booking_codes) - {""})
        async with self._database.read(self._source.organisation_id) as session:
            for start in range(0, len(codes), _CHUNK):
                chunk = codes[start : start + _CHUNK]
                ids = await self._load_ids(session, chunk)
                visits = await session.scalars(
                    select(Visit)
                    .join(Visit.appointment)
                    .where(Appointment.source_id == self._source.id)
                    .where(Appointment.booking_code.in_(chunk))
                    .options(joinedload(Visit.appointment))
                )
                for visit in visits:
                    code = visit.appointment.booking_code
                    logical_id = ids.get(code, visit.appointment_id)
                    held[code] = Held(logical_id, visit.appointment, visit)
        return held

    async def find_by_code(self, booking_code: str) -> Held | None:
        return (await self.load([booking_code])).get(booking_code)

    async def find_by_id(self, logical_id: str) -> Held | None:
        async with self._database.read(self._source.organisation_id) as session:
            index = await resource_index(
                self._keyring, session, self._source, APPOINTMENT, logical_id
            )
            code = await session.scalar(
                select(FhirResource.booking_code).where(FhirResource.resource_index == index)
            ) or await session.scalar(
                select(Appointment.booking_code)
                .where(Appointment.id == logical_id)
                .where(Appointment.source_id == self._source.id)
            )
        return await self.find_by_code(code) if code else None

    async def _load_ids(self, session: AsyncSession, codes: Sequence[str]) -> dict[str, str]:
        found = await session.execute(
            select(FhirResource.booking_code, FhirResource.logical_id)
            .where(FhirResource.source_id == self._source.id)
            .where(FhirResource.booking_code.in_(codes))
            .order_by(FhirResource.updated_at)
        )
        return {row[0]: row[1] for row in found}
