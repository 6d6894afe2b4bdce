"""The visit: what happens between a patient and a clinician for one appointment."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column
from server.models.booking import Appointment
from server.models.call import Suitability
from server.models.ids import new_id, new_locator


class VisitState(StrEnum):
    """``booked → checked_in → waiting → in_visit → ended`` and ``… → cancelled``."""

    BOOKED = "booked"
    CHECKED_IN = "checked_in"
    WAITING = "waiting"
    IN_VISIT = "in_visit"
    ENDED = "ended"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """How a visit ended (design §2)."""

    COMPLETED = "completed"
    CONVERTED_TO_IN_PERSON = "converted_to_in_person"
    TECHNICAL_FAILURE = "technical_failure"
    NO_SHOW_PATIENT = "no_show_patient"
    NO_SHOW_CLINICIAN = "no_show_clinician"


class Visit(OwnedByOrganisation, Base):
    """One visit of one appointment; ``id`` is also the id of its room.

    ``link_version`` goes up when the join link is revoked or the booking is cancelled: every
    link of an older version is dead.
    """

    __tablename__ = "visit"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    appointment_id: Mapped[str] = mapped_column(ForeignKey("appointment.id"), unique=True)
    locator: Mapped[str] = mapped_column(String(16), unique=True, default=new_locator)
    link_version: Mapped[int] = mapped_column(default=1)
    state: Mapped[VisitState] = mapped_column(word_column(VisitState), default=VisitState.BOOKED)
    outcome: Mapped[Outcome | None] = mapped_column(word_column(Outcome))
    outcome_reason: Mapped[str] = mapped_column(String(32), default="")
    """A code of :mod:`server.visit`, for instance ``weak_line``; never free text."""
    late_minutes: Mapped[int] = mapped_column(default=0)
    failed_claims: Mapped[int] = mapped_column(default=0)
    last_failed_claim_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    device_code_issued_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the code for a second device was sent; the code is derived, never stored."""
    device_code_attempts: Mapped[int] = mapped_column(default=0)
    device_code_browser: Mapped[str | None] = mapped_column(String(64))
    """SHA-256 of the cookie of the browser that asked for the code: only there it works."""
    waiting_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    admitted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    identity_confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    eligibility_confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sealed_eligibility: Mapped[bytes | None] = mapped_column(LargeBinary)
    """JSON: the ground of TV-03 and, for a first visit, the clinician's reason (TV-02)."""
    suitability: Mapped[Suitability | None] = mapped_column(word_column(Suitability))
    """What the clinician stated of the line; the measured proposal is computed when asked."""
    suitability_stated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    suitability_stated_by: Mapped[str | None] = mapped_column(String(32))
    appointment: Mapped[Appointment] = relationship(lazy="raise_on_sql")


class CheckIn(OwnedByOrganisation, Base):
    """What the patient answered before the visit; each step can be saved again.

    ``sealed_answers``: JSON of :class:`server.sealed.Answers` (address, companions, devices).
    """

    __tablename__ = "check_in"

    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), primary_key=True)
    sealed_answers: Mapped[bytes] = mapped_column(LargeBinary)
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ConsentKind(StrEnum):
    """Two separate consents: to the televisita and to the tool."""

    VISIT = "visit"
    TOOL = "tool"


class Consent(OwnedByOrganisation, Base):
    """One answer to one text; a later answer is a new row."""

    __tablename__ = "consent"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    kind: Mapped[ConsentKind] = mapped_column(word_column(ConsentKind))
    is_given: Mapped[bool]
    text_version: Mapped[str] = mapped_column(String(16))
    text_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the text that was on the screen, in its language."""
    language: Mapped[str] = mapped_column(String(8))
    answered_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Device(OwnedByOrganisation, Base):
    """A browser that claimed the link. At most one of a visit and role is live."""

    __tablename__ = "device"
    __table_args__ = (UniqueConstraint("token_hash"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64))
    link_version: Mapped[int]
    claimed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    visit: Mapped[Visit] = relationship(lazy="raise_on_sql")
