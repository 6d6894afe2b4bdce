"""How long what is kept, and what may not be deleted."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OrganisationId, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id


class Kept(StrEnum):
    """What a term is for."""

    RECORD = "record"
    """Note, answers, files and reports of a visit, with its key."""
    MESSAGES = "messages"
    """What CUP sent, month by month."""
    RECORDING = "recording"
    """Recordings of visits, with their keys."""
    ACCESS = "access"
    """Logins and devices."""
    LOG = "log"
    """Entries of the session log."""
    LOG_ACCESS = "log_access"
    """Entries of the session log about authentication."""


class RetentionTerm(OwnedByOrganisation, Base):
    """After how many days one kind is shredded; no row: the default of the settings."""

    __tablename__ = "retention_term"

    organisation_id: Mapped[OrganisationId] = mapped_column(
        ForeignKey("organisation.id"), primary_key=True
    )
    kept: Mapped[Kept] = mapped_column(word_column(Kept), primary_key=True)
    days: Mapped[int]


class LegalHold(OwnedByOrganisation, Base):
    """While it is not lifted nothing of the visit is shredded."""

    __tablename__ = "legal_hold"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    reason: Mapped[str] = mapped_column(String(32))
    """A stable word such as ``litigation``; never free text."""
    placed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    placed_by: Mapped[str] = mapped_column(String(32), default="")
    """A user; empty for the command line."""
    lifted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lifted_by: Mapped[str | None] = mapped_column(String(32))
