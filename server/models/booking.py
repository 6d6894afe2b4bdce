"""What CUP's messages become: patients and appointments."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from recordings.vault import HEADER, KEY_ID_BYTES
from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id
from server.models.organisation import Clinic
from server.models.people import User

ERASED_BYTES: Final = len(HEADER) + KEY_ID_BYTES
"""What is left of a sealed value whose key was destroyed: it names the key."""


class AppointmentStatus(StrEnum):
    BOOKED = "booked"
    CANCELLED = "cancelled"


class Patient(OwnedByOrganisation, Base):
    """A person in care of one organisation.

    ``sealed_identity``: JSON of :class:`server.sealed.Identity` (names, birth date, sex,
    codice fiscale, phone, e-mail, address). ``codice_fiscale_index`` is a keyed hash.
    """

    __tablename__ = "patient"
    __table_args__ = (UniqueConstraint("organisation_id", "codice_fiscale_index"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    codice_fiscale_index: Mapped[str | None] = mapped_column(String(32))
    sealed_identity: Mapped[bytes] = mapped_column(LargeBinary)
    identity_version: Mapped[int] = mapped_column(default=1)
    is_to_complete: Mapped[bool] = mapped_column(default=False)
    """CUP gave no birth date: the desk asks for it. Kept by :mod:`server.sealed`."""
    identity_orders: Mapped[str] = mapped_column(Text, default="{}")
    """JSON: which message said which fields of the identity (:mod:`server.cup.inbox.fold`), so
    that the newest decides each of them however they arrive."""


class PatientIdentifier(OwnedByOrganisation, Base):
    """A source's own number of a patient (PID-3, Patient.identifier), as a keyed hash only. A
    merge (ADT A40) makes it point to the surviving patient."""

    __tablename__ = "patient_identifier"
    __table_args__ = (
        UniqueConstraint("source_id", "identifier_index"),
        Index("ix_patient_identifier_known", "organisation_id", "identifier_index"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id"))
    identifier_index: Mapped[str] = mapped_column(String(32))
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)


class Appointment(OwnedByOrganisation, Base):
    """A booking of CUP. ``clinician`` is empty while it is *to assign*.

    ``sealed_details``: JSON of :class:`server.sealed.Details` (NRE, question, exemption…).
    """

    __tablename__ = "appointment"
    __table_args__ = (UniqueConstraint("source_id", "booking_code"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id"))
    booking_code: Mapped[str] = mapped_column(String(64), index=True)
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    clinic_id: Mapped[str | None] = mapped_column(ForeignKey("clinic.id"))
    clinician_id: Mapped[str | None] = mapped_column(ForeignKey("user.id"), index=True)
    clinician_code: Mapped[str] = mapped_column(String(64), default="")
    """As CUP wrote it; kept so that a person can assign what is unknown."""
    status: Mapped[AppointmentStatus] = mapped_column(word_column(AppointmentStatus))
    start: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    end: Mapped[datetime] = mapped_column(UtcDateTime)
    priority: Mapped[str] = mapped_column(String(1), default="")
    """U, B, D or P (PNGLA classes); empty when CUP does not say."""
    is_first_visit: Mapped[bool] = mapped_column(default=False)
    sealed_details: Mapped[bytes] = mapped_column(LargeBinary)
    details_version: Mapped[int] = mapped_column(default=1)
    import_digest: Mapped[str] = mapped_column(String(32), default="")
    """Keyed hash of the booking as last imported: a repeat is known without opening anything,
    and does not undo what the desk has corrected since."""
    message_order: Mapped[str] = mapped_column(String(255), default="")
    """Sort key of the newest CUP message in it (:class:`server.cup.booking.Order`)."""
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The patient has said that she comes; forgotten when the appointment moves."""
    cancel_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The patient has asked to cancel; the slot closes only when CUP says so."""
    is_cancel_late: Mapped[bool] = mapped_column(default=False)
    sealed_justification: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The patient's words for a late cancellation."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    patient: Mapped[Patient] = relationship(lazy="raise_on_sql")
    clinic: Mapped[Clinic | None] = relationship(lazy="raise_on_sql")
    clinician: Mapped[User | None] = relationship(lazy="raise_on_sql")

    @property
    def is_erased(self) -> bool:
        """The record was ended at its term (:mod:`server.retention`): only the header is left."""
        return len(self.sealed_details) <= ERASED_BYTES
