"""The report (*referto*), who signs it, and its way to the national record (FSE)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id


class ReportKind(StrEnum):
    REPORT = "report"
    ADDENDUM = "addendum"
    """A document of its own that refers to the report it completes."""


class ReportState(StrEnum):
    """What ``accanto visits`` prints as ``report_state``; computed by
    :func:`server.report.state.state_of`."""

    NONE = "none"
    DRAFT = "draft"
    SIGNED = "signed"
    DELIVERED = "delivered"
    """The patient has been told and can open it."""
    PUBLISHED = "published"
    """The national record has it."""
    REFUSED = "refused"
    """The national record has refused it: somebody must look."""


class Report(OwnedByOrganisation, Base):
    """One version of one document. Without ``signed_at`` it is a draft; after, it never changes.

    ``id`` is the root of the document's own id, ``set_id`` stays the same over its versions.
    ``sealed_content``: JSON of :class:`server.report.content.ReportContent`, sealed in version
    ``content_version``; ``sealed_pdf``: the signed PDF/A-3b that carries the CDA2.
    """

    __tablename__ = "report"
    __table_args__ = (UniqueConstraint("set_id", "version"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    set_id: Mapped[str] = mapped_column(String(32), index=True)
    version: Mapped[int] = mapped_column(default=1)
    kind: Mapped[ReportKind] = mapped_column(word_column(ReportKind), default=ReportKind.REPORT)
    replaces_id: Mapped[str | None] = mapped_column(ForeignKey("report.id"))
    """The version before (RPLC), or the report that an addendum completes (APND)."""
    is_obscured: Mapped[bool] = mapped_column(default=False)
    """The patient wants it hidden from other professionals in the national record."""
    sealed_content: Mapped[bytes] = mapped_column(LargeBinary)
    content_version: Mapped[int] = mapped_column(default=1)
    sealed_pdf: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed_cda: Mapped[bytes | None] = mapped_column(LargeBinary)
    pdf_sha256: Mapped[str] = mapped_column(String(64), default="")
    author_id: Mapped[str] = mapped_column(ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    signed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The message with the link was queued for the patient."""
    first_read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The patient opened it for the first time."""


class SignerKind(StrEnum):
    PKCS12 = "pkcs12"
    PKCS11 = "pkcs11"
    REMOTE = "remote"
    """The regional signer, through its port."""


class Signer(OwnedByOrganisation, Base):
    """With what one clinician signs. ``sealed_content``: JSON with the PKCS#12 file, or the names
    of a token and its key (:mod:`server.signing.keep`); never a PIN."""

    __tablename__ = "signer"

    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), primary_key=True)
    kind: Mapped[SignerKind] = mapped_column(word_column(SignerKind))
    sealed_content: Mapped[bytes] = mapped_column(LargeBinary)
    version: Mapped[int] = mapped_column(default=1)
    failed_pins: Mapped[int] = mapped_column(default=0)
    """In a row; at three the means are locked, before a token blocks itself."""
    certificate_sha256: Mapped[str] = mapped_column(String(64))
    valid_until: Mapped[datetime] = mapped_column(UtcDateTime)
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ReportCode(OwnedByOrganisation, Base):
    """The one-time code with which a patient opens the reports of a visit; derived, not stored."""

    __tablename__ = "report_code"

    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), primary_key=True)
    browser: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the cookie of the browser that asked: only there it works."""
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    issued_count: Mapped[int] = mapped_column(default=1)
    attempts: Mapped[int] = mapped_column(default=0)
    passed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SubmissionState(StrEnum):
    """``waiting → validated → published``; ``refused`` ends it until a person acts."""

    WAITING = "waiting"
    VALIDATED = "validated"
    PUBLISHED = "published"
    REFUSED = "refused"


class Submission(OwnedByOrganisation, Base):
    """One document on its way to the gateway of the national record."""

    __tablename__ = "submission"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    report_id: Mapped[str] = mapped_column(ForeignKey("report.id"), unique=True)
    state: Mapped[SubmissionState] = mapped_column(
        word_column(SubmissionState), default=SubmissionState.WAITING, index=True
    )
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    workflow_instance_id: Mapped[str] = mapped_column(String(255), default="")
    trace_id: Mapped[str] = mapped_column(String(64), default="")
    problem: Mapped[str] = mapped_column(String(64), default="")
    """The ``type`` of an RFC 7807 answer, or a word of ours such as ``unreachable``."""
    sealed_detail: Mapped[bytes | None] = mapped_column(LargeBinary)
    """What the gateway said: it may quote the document."""
    detail_version: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
