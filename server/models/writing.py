"""What helps to write a note (templates that organisations share, phrases, lists of codes), and the
files of a visit."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id
from server.models.shared import SharedVersion


class NoteTemplate(SharedVersion):
    """One version of a template; an older version stays for the notes that began with it.

    ``content``: JSON of :class:`server.sealed.NoteContent`, texts without a person in them.
    """

    __tablename__ = "note_template"
    __table_args__ = (UniqueConstraint("organisation_id", "code", "version"),)

    specialty: Mapped[str] = mapped_column(String(100), default="")


class Phrase(OwnedByOrganisation, Base):
    """A text put in by a few letters. Without an owner it is for the whole organisation."""

    __tablename__ = "phrase"
    __table_args__ = (UniqueConstraint("organisation_id", "owner_id", "shortcut"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("user.id"))
    shortcut: Mapped[str] = mapped_column(String(32))
    text: Mapped[str] = mapped_column(Text)


class CodeSystem(StrEnum):
    """The lists an operator supplies."""

    ICD9_CM = "icd9_cm"
    """2.16.840.1.113883.6.103: diagnoses and questions."""
    SERVICES = "services"
    """National nomenclature of outpatient services."""


class CodeListEntry(Base):
    """One code of one list; the same for every organisation of the installation."""

    __tablename__ = "code_list_entry"

    system: Mapped[CodeSystem] = mapped_column(word_column(CodeSystem), primary_key=True)
    code: Mapped[str] = mapped_column(String(32), primary_key=True)
    display: Mapped[str] = mapped_column(String(500))
    search_text: Mapped[str] = mapped_column(String(600))
    """Code and display, lower case, without accents."""
    list_version: Mapped[str] = mapped_column(String(32), default="")


class AttachmentKind(StrEnum):
    PATIENT_FILE = "patient_file"
    """A document or photo that the patient sent."""
    STILL = "still"
    """A full-resolution picture of the patient's rear camera, taken on consent."""


class Attachment(OwnedByOrganisation, Base):
    """A file of a visit. Its content is a sealed file of the store under ``id``.

    ``sealed_words``: JSON of :class:`server.sealed.AttachmentWords` (file name, device, consent).
    """

    __tablename__ = "attachment"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    kind: Mapped[AttachmentKind] = mapped_column(word_column(AttachmentKind))
    media_type: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    sealed_words: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_sha256: Mapped[str] = mapped_column(String(64))
    """Of the sealed file."""
    taken_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    consented_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the patient agreed to a still, on her own screen."""
    is_in_report: Mapped[bool] = mapped_column(default=False)
    """The clinician chose it as the image of the report; at most one of a visit."""
