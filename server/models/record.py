"""Records: the sealed note."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column


class NoteFormat(StrEnum):
    """What ``Note.sealed_text`` holds."""

    PLAIN = "plain"
    """One text: the notes of before 0004."""
    SECTIONS = "sections"
    """JSON of :class:`server.sealed.NoteContent`."""


class Note(OwnedByOrganisation, Base):
    """The clinician's working text. Every saved version stays, so nobody's edit is lost."""

    __tablename__ = "note"

    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    sealed_text: Mapped[bytes] = mapped_column(LargeBinary)
    author_id: Mapped[str] = mapped_column(ForeignKey("user.id"))
    saved_at: Mapped[datetime] = mapped_column(UtcDateTime)
    content_format: Mapped[NoteFormat] = mapped_column(
        word_column(NoteFormat), default=NoteFormat.SECTIONS
    )
