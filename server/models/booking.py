"""What comes from CUP: sources, patients, appointments, and rows that could not be read."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id
from server.models.organisation import Clinic
from server.models.people import User


class AppointmentStatus(StrEnum):
    BOOKED = "booked"
    CANCELLED = "cancelled"


class Source(OwnedByOrganisation, Base):
    """A CUP feed of one organisation."""

    __tablename__ = "source"
    __table_args__ = (UniqueConstraint("organisation_id", "code"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(64))


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
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    patient: Mapped[Patient] = relationship(lazy="raise_on_sql")
    clinic: Mapped[Clinic | None] = relationship(lazy="raise_on_sql")
    clinician: Mapped[User | None] = relationship(lazy="raise_on_sql")


class ImportIssue(OwnedByOrganisation, Base):
    """A row of a CUP file that could not be applied: kept sealed, named by line and field."""

    __tablename__ = "import_issue"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id"))
    line: Mapped[int]
    field: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    sealed_raw: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
