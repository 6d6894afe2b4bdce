"""Messages to patients: the queue keeps what to say, never the words nor the link."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id


class MessageKind(StrEnum):
    INVITATION = "invitation"
    REMINDER = "reminder"
    MOVED = "moved"
    CANCELLED = "cancelled"
    LATE = "late"
    DEVICE_CODE = "device_code"
    REPORT = "report"
    """A report is signed, or has a new version."""
    REPORT_CODE = "report_code"


class Channel(StrEnum):
    EMAIL = "email"
    SMS = "sms"


class DispatchState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    """Refused, or tried for too long: waits for a person."""
    WITHHELD = "withheld"
    """The phase of the organisation let nothing leave."""
    UNREACHABLE = "unreachable"
    """The booking has neither an e-mail address nor a telephone."""
    DROPPED = "dropped"
    """It was no longer true when its time came."""


class PatientMessage(OwnedByOrganisation, Base):
    """One message to one patient. Rendered when it is sent: text, address and link are derived.

    ``occasion`` makes it one: the same kind for the same occasion is queued once.
    ``parameters``: JSON of numbers and times only.
    """

    __tablename__ = "patient_message"
    __table_args__ = (UniqueConstraint("visit_id", "kind", "occasion"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    kind: Mapped[MessageKind] = mapped_column(word_column(MessageKind))
    occasion: Mapped[str] = mapped_column(String(64), default="")
    parameters: Mapped[str] = mapped_column(Text, default="{}")
    state: Mapped[DispatchState] = mapped_column(word_column(DispatchState), index=True)
    channel: Mapped[Channel | None] = mapped_column(word_column(Channel))
    """How it went out."""
    reason: Mapped[str] = mapped_column(String(64), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
