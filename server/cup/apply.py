"""Applying one booking: what it makes, what it changes, and what it must leave alone.

Called by :mod:`server.cup.inbox` inside its transaction. Everything is checked before the first
write, so a refused booking leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from server.audit import Act, ActorRole, Entry, Fact, append
from server.cup.booking import Booking, Field, FieldError, Reason
from server.db import OrganisationId
from server.keyring import Keyring
from server.models import (
    Appointment,
    AppointmentStatus,
    Clinic,
    Patient,
    Source,
    User,
    UserRole,
    Visit,
    VisitState,
    new_id,
)
from server.sealed import Identity, open_identity, seal_details, seal_identity

_BEGUN: Final = frozenset({VisitState.IN_VISIT, VisitState.ENDED})


class Effect(StrEnum):
    """What a booking did; the values are the counters of the report."""

    IMPORTED = "imported"
    UPDATED = "updated"
    MOVED = "moved"
    CANCELLED = "cancelled"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Applied:
    effect: Effect
    organisation: OrganisationId
    booking_code: str
    visit_id: str
    is_to_assign: bool


class BookingInbox:
    """Applies bookings of one source in one session."""

    def __init__(
        self,
        session: AsyncSession,
        keyring: Keyring,
        organisation: OrganisationId,
        source: Source,
        now: datetime,
    ) -> None:
        self._session = session
        self._keyring = keyring
        self._organisation = organisation
        self._source = source
        self._now = now

    async def apply(self, booking: Booking) -> Applied:
        """Make or change what the booking says.

        :raises FieldError: it asks for what can no longer be done.
        """
        digest = await self._keyring.blind_index(
            self._session, self._organisation, "booking", _fingerprint(booking)
        )
        visit = await self._find_visit(booking.booking_code)
        clinician_id = await self._find_clinician(booking)
        if visit is None:
            visit = await self._create(booking, clinician_id)
            effect = Effect.IMPORTED
        else:
            effect = await self._update(visit, booking, clinician_id, digest)
        appointment = visit.appointment
        appointment.import_digest = digest
        await self._session.flush()
        is_to_assign = (
            appointment.clinician_id is None and appointment.status is AppointmentStatus.BOOKED
        )
        return Applied(effect, self._organisation, booking.booking_code, visit.id, is_to_assign)

    async def _create(self, booking: Booking, clinician_id: str | None) -> Visit:
        appointment = Appointment(
            id=new_id(),
            organisation_id=self._organisation,
            source_id=self._source.id,
            booking_code=booking.booking_code,
            clinician_id=clinician_id,
            details_version=1,
            created_at=self._now,
        )
        await self._place_patient(appointment, booking.identity)
        await self._write_booking(appointment, booking)
        is_cancelled = booking.status is AppointmentStatus.CANCELLED
        visit = Visit(
            id=new_id(),
            organisation_id=self._organisation,
            appointment=appointment,
            state=VisitState.CANCELLED if is_cancelled else VisitState.BOOKED,
            link_version=1,
        )
        self._session.add(visit)
        acts = (Act.BOOKING_CANCELLED,) if is_cancelled else (Act.LINK_ISSUED,)
        await self._log(visit, Act.BOOKING_IMPORTED, *acts)
        return visit

    async def _update(
        self, visit: Visit, booking: Booking, clinician_id: str | None, digest: str
    ) -> Effect:
        appointment = visit.appointment
        if appointment.import_digest == digest:
            return await self._assign_known(visit, clinician_id)
        effect = _effect_of(visit, booking)
        old_start = appointment.start
        if appointment.clinician_id is None or _code_of(booking) != appointment.clinician_code:
            appointment.clinician_id = clinician_id
        if await self._place_patient(appointment, booking.identity):
            visit.link_version += 1
            await self._log(visit, Act.LINK_ISSUED)
        appointment.details_version += 1
        await self._write_booking(appointment, booking)
        if effect is Effect.MOVED:
            facts: dict[str, Fact] = {"from": old_start.isoformat()}
            await self._log(visit, Act.BOOKING_MOVED, facts=facts)
        elif effect is Effect.CANCELLED:
            visit.state = VisitState.CANCELLED
            visit.link_version += 1
            await self._log(visit, Act.BOOKING_CANCELLED)
        else:
            await self._log(visit, Act.BOOKING_IMPORTED, facts={"is_update": True})
        return effect

    async def _assign_known(self, visit: Visit, clinician_id: str | None) -> Effect:
        """A repeat changes nothing, except that a clinician may have been added since."""
        appointment = visit.appointment
        if appointment.clinician_id is not None or clinician_id is None:
            return Effect.UNCHANGED
        appointment.clinician_id = clinician_id
        appointment.updated_at = self._now
        await self._log(visit, Act.BOOKING_ASSIGNED, facts={"clinician": clinician_id})
        return Effect.UPDATED

    async def _write_booking(self, appointment: Appointment, booking: Booking) -> None:
        appointment.clinic_id = await self._load_or_make_clinic(booking)
        appointment.clinician_code = _code_of(booking)
        appointment.status = booking.status
        appointment.start = booking.start
        appointment.end = booking.end
        appointment.priority = booking.priority
        appointment.is_first_visit = booking.is_first_visit
        appointment.updated_at = self._now
        await seal_details(self._keyring, self._session, appointment, booking.details)

    async def _place_patient(self, appointment: Appointment, identity: Identity) -> bool:
        """Give the appointment its patient; True when it is another one than before.

        Without a codice fiscale nobody can be recognised: the booking keeps its own patient.
        """
        index = None
        if identity.codice_fiscale:
            index = await self._keyring.blind_index(
                self._session, self._organisation, "codice_fiscale", identity.codice_fiscale
            )
        before: str | None = appointment.patient_id
        patient = await self._find_patient(before, index)
        if patient is None:
            patient = Patient(
                id=new_id(),
                organisation_id=self._organisation,
                codice_fiscale_index=index,
                identity_version=1,
            )
            await seal_identity(self._keyring, self._session, patient, identity)
            self._session.add(patient)
            await self._session.flush()
        else:
            await self._merge_identity(patient, identity)
        appointment.patient_id = patient.id
        return before is not None and before != patient.id

    async def _find_patient(self, patient_id: str | None, index: str | None) -> Patient | None:
        """The booking's own patient, unless the codice fiscale is somebody else's."""
        known = await self._session.get(Patient, patient_id) if patient_id else None
        if index is None or (known is not None and known.codice_fiscale_index == index):
            return known
        found = await self._session.scalar(
            select(Patient).where(Patient.codice_fiscale_index == index)
        )
        if found is None and known is not None and known.codice_fiscale_index is None:
            known.codice_fiscale_index = index
            return known
        return found

    async def _merge_identity(self, patient: Patient, identity: Identity) -> None:
        """What the booking says replaces what is known; what it leaves out stays."""
        known = await open_identity(self._keyring, self._session, patient)
        said = {name: value for name, value in msgspec.structs.asdict(identity).items() if value}
        merged = msgspec.structs.replace(known, **said)
        if merged != known:
            patient.identity_version += 1
            await seal_identity(self._keyring, self._session, patient, merged)

    async def _load_or_make_clinic(self, booking: Booking) -> str | None:
        code = booking.clinic_code or booking.clinic_name[:64]
        if not code:
            return None
        clinic = await self._session.scalar(select(Clinic).where(Clinic.code == code))
        if clinic is None:
            clinic = Clinic(id=new_id(), organisation_id=self._organisation, code=code, name=code)
            self._session.add(clinic)
        clinic.name = booking.clinic_name or clinic.name
        await self._session.flush()
        return clinic.id

    async def _find_visit(self, booking_code: str) -> Visit | None:
        return await self._session.scalar(
            select(Visit)
            .join(Visit.appointment)
            .where(Appointment.source_id == self._source.id)
            .where(Appointment.booking_code == booking_code)
            .options(joinedload(Visit.appointment))
        )

    async def _find_clinician(self, booking: Booking) -> str | None:
        if not booking.clinician_codes:
            return None
        rows = await self._session.execute(
            select(User.code, User.id)
            .where(User.organisation_id == self._organisation)
            .where(User.role == UserRole.CLINICIAN)
            .where(User.code.in_(booking.clinician_codes))
        )
        known: dict[str | None, str] = dict(rows.all())
        return next((known[code] for code in booking.clinician_codes if code in known), None)

    async def _log(self, visit: Visit, *acts: Act, facts: dict[str, Fact] | None = None) -> None:
        await self._session.flush()
        await append(
            self._session,
            self._organisation,
            *(
                Entry(
                    at=self._now,
                    act=act,
                    role=ActorRole.SYSTEM,
                    visit=visit.id,
                    facts=facts or {},
                )
                for act in acts
            ),
        )


def _effect_of(visit: Visit, booking: Booking) -> Effect:
    """What a changed booking does to its visit.

    :raises FieldError: cancelled is final, and a visit that has begun stays where it is.
    """
    appointment = visit.appointment
    is_moved = (appointment.start, appointment.end) != (booking.start, booking.end)
    if appointment.status is AppointmentStatus.CANCELLED:
        if booking.status is AppointmentStatus.BOOKED:
            raise FieldError(Field.STATUS, Reason.ALREADY_CANCELLED)
        return Effect.UPDATED
    is_cancelled = booking.status is AppointmentStatus.CANCELLED
    if visit.state in _BEGUN and (is_moved or is_cancelled):
        field = Field.STATUS if is_cancelled else Field.START
        raise FieldError(field, Reason.VISIT_ALREADY_BEGUN)
    if is_cancelled:
        return Effect.CANCELLED
    return Effect.MOVED if is_moved else Effect.UPDATED


def _code_of(booking: Booking) -> str:
    return next(iter(booking.clinician_codes), "")


def _fingerprint(booking: Booking) -> str:
    return msgspec.json.encode(booking, order="deterministic").decode()
