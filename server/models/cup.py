"""The CUP link: sources, what came in, what goes out."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, OwnedByOrganisation, UtcDateTime, word_column
from server.models.ids import new_id


class Connector(StrEnum):
    """The language of a message."""

    HL7V2 = "hl7v2"
    FHIR = "fhir"
    CSV = "csv"


class Source(OwnedByOrganisation, Base):
    """A CUP feed of one organisation, whatever languages it speaks.

    ``settings``: JSON of :class:`server.sources.SourceSettings` (listener, poller, mapping,
    where outcomes go); it holds no secret.
    """

    __tablename__ = "source"
    __table_args__ = (UniqueConstraint("organisation_id", "code"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200), default="")
    settings: Mapped[str] = mapped_column(Text, default="{}")
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True, index=True)
    """SHA-256 of the bearer token of the FHIR entrance; empty: closed."""
    sealed_outgoing_token: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The bearer token that CUP gave us for its FHIR server."""
    poll_cursor: Mapped[str] = mapped_column(String(64), default="")
    """Where the FHIR poller goes on: the newest ``_lastUpdated`` it has taken in."""
    is_paused: Mapped[bool] = mapped_column(default=False)
    delivery_holder: Mapped[str] = mapped_column(String(32), default="")
    """Which running server delivers this source's events; each takes a random name."""
    delivery_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When another may take over, should that one have died."""


class MessageState(StrEnum):
    """What became of a message from CUP."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    """It said what was known."""
    SUPERSEDED = "superseded"
    """A newer message of the same booking had come before it."""
    QUARANTINED = "quarantined"
    """Not applied; waits for a person."""
    DISCARDED = "discarded"
    """A person has put it aside."""


class InboxMessage(OwnedByOrganisation, Base):
    """One message from CUP, kept as it came. ``reason`` and ``field`` are stable words."""

    __tablename__ = "inbox_message"
    __table_args__ = (
        UniqueConstraint("source_id", "control_id"),
        Index("ix_inbox_message_booking", "source_id", "booking_code", "state"),
        Index("ix_inbox_message_rates", "source_id", "state", "received_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id"))
    connector: Mapped[Connector] = mapped_column(word_column(Connector))
    control_id: Mapped[str | None] = mapped_column(String(200))
    """MSH-10, or what stands for it (of a file: its hash and the line)."""
    content_digest: Mapped[str] = mapped_column(String(32))
    """Keyed hash of what the message says, without its envelope."""
    booking_code: Mapped[str] = mapped_column(String(64), default="")
    event: Mapped[str] = mapped_column(String(16), default="")
    """``S12``…, ``A40`` or the status word of a FHIR or CSV booking."""
    message_order: Mapped[str] = mapped_column(String(255), default="")
    state: Mapped[MessageState] = mapped_column(word_column(MessageState), index=True)
    reason: Mapped[str] = mapped_column(String(64), default="")
    field: Mapped[str] = mapped_column(String(64), default="")
    warnings: Mapped[str] = mapped_column(String(255), default="")
    """Stable words, separated by spaces."""
    line: Mapped[int] = mapped_column(default=0)
    """Of a file: the line, or the entry of a bundle."""
    sealed_raw: Mapped[bytes] = mapped_column(LargeBinary)
    visit_id: Mapped[str | None] = mapped_column(ForeignKey("visit.id"), index=True)
    repeats: Mapped[int] = mapped_column(default=0)
    """How often it came again."""
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)


class FhirResource(OwnedByOrganisation, Base):
    """A resource that a source has sent by FHIR.

    Found by ``resource_index``, a keyed hash of ``Type/id``: a logical id may be a person's
    number. What appointments refer to is kept sealed; an Appointment itself is a message of the
    inbox, and its row only names the newest.
    """

    __tablename__ = "fhir_resource"
    __table_args__ = (UniqueConstraint("source_id", "resource_index"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id"))
    resource_index: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(32))
    """``Patient``, ``ServiceRequest``…"""
    version: Mapped[int] = mapped_column(default=1)
    sealed_content: Mapped[bytes | None] = mapped_column(LargeBinary)
    logical_id: Mapped[str] = mapped_column(String(64), default="")
    """Of an Appointment only."""
    booking_code: Mapped[str] = mapped_column(String(64), default="", index=True)
    message_id: Mapped[str | None] = mapped_column(ForeignKey("inbox_message.id"))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class FhirAwaited(OwnedByOrganisation, Base):
    """Something that an Appointment refers to and that has not come yet."""

    __tablename__ = "fhir_awaited"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    resource_index: Mapped[str] = mapped_column(String(32), index=True)
    appointment_id: Mapped[str] = mapped_column(ForeignKey("fhir_resource.id"), index=True)


class VisitChangeKind(StrEnum):
    """What people with the page open must hear of."""

    MOVED = "moved"
    CANCELLED = "cancelled"
    ENDED = "ended"


class VisitChange(OwnedByOrganisation, Base):
    """A change of a visit by CUP, numbered: running servers read on from the last they saw."""

    __tablename__ = "visit_change"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"))
    kind: Mapped[VisitChangeKind] = mapped_column(word_column(VisitChangeKind))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class EventKind(StrEnum):
    """What CUP is told or asked."""

    CONFIRMED = "confirmed"
    CANCEL_ASKED = "cancel_asked"
    CHECKED_IN = "checked_in"
    BEGUN = "begun"
    ENDED = "ended"
    REBOOKING_ASKED = "rebooking_asked"
    RECTIFIED = "rectified"
    """The patient has had her data corrected: CUP must look at its own (GDPR art. 19)."""


class EventState(StrEnum):
    QUEUED = "queued"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Refused, or tried for too long: waits for a person."""
    WITHHELD = "withheld"
    """The phase of the organisation let nothing leave."""
    NO_ROUTE = "no_route"
    """The source has no way out configured."""


class OutboxEvent(OwnedByOrganisation, Base):
    """One thing CUP must hear of, written in the transaction of the act itself.

    ``facts``: JSON of stable words and times (outcome, reason…), never a name or a text.
    """

    __tablename__ = "outbox_event"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    """Order within a source."""
    id: Mapped[str] = mapped_column(String(32), unique=True, default=new_id)
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id"), index=True)
    visit_id: Mapped[str] = mapped_column(ForeignKey("visit.id"), index=True)
    kind: Mapped[EventKind] = mapped_column(word_column(EventKind))
    facts: Mapped[str] = mapped_column(Text, default="{}")
    state: Mapped[EventState] = mapped_column(word_column(EventState), index=True)
    reason: Mapped[str] = mapped_column(String(64), default="")
    """Why the last attempt did not go through; a stable word."""
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    tried_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The first attempt since it was queued, by its act or by a person."""
    next_attempt_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DifferenceKind(StrEnum):
    MISSING_HERE = "missing_here"
    MISSING_IN_CUP = "missing_in_cup"
    DIFFERENT = "different"


class Reconciliation(OwnedByOrganisation, Base):
    """One comparison of a source with what CUP says it holds."""

    __tablename__ = "reconciliation"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    source_id: Mapped[str] = mapped_column(ForeignKey("source.id"), index=True)
    compared_at: Mapped[datetime] = mapped_column(UtcDateTime)
    compared: Mapped[int] = mapped_column(default=0)
    """Bookings that both sides hold."""


class Difference(OwnedByOrganisation, Base):
    """One booking in which the two sides do not agree; ``fields`` are names, never values."""

    __tablename__ = "difference"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    reconciliation_id: Mapped[str] = mapped_column(ForeignKey("reconciliation.id"), index=True)
    booking_code: Mapped[str] = mapped_column(String(64))
    kind: Mapped[DifferenceKind] = mapped_column(word_column(DifferenceKind))
    fields: Mapped[str] = mapped_column(String(255), default="")
    """Separated by spaces."""
