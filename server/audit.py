"""The one door to the session log.

An act and its entry are written in the same transaction: no entry, no act. Entries carry ids and
stable words, never a name, a text or an address. The pages that show the log are
``server.sessionlog``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import bindparam, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from server.db import Base, OrganisationId
from server.models import LogEntry, LogHead

Fact = str | int | bool | None
_HEADS = Base.metadata.tables[LogHead.__tablename__]
_GROW = (
    update(_HEADS)
    .where(_HEADS.c.organisation_id == bindparam("organisation"))
    .values(size=_HEADS.c.size + bindparam("count"))
    .returning(_HEADS.c.size)
)
_INSERT: Final = {
    "sqlite": text(
        "INSERT INTO log_entry (organisation_id, seq, visit_id, entry)"
        " SELECT :organisation, :first + key, json_extract(value, '$.visit'), value"
        " FROM json_each(:entries)"
    ),
    "postgresql": text(
        "INSERT INTO log_entry (organisation_id, seq, visit_id, entry)"
        " SELECT CAST(:organisation AS varchar), CAST(:first AS bigint) + place - 1,"
        " CAST(entry AS json) ->> 'visit', entry"
        " FROM json_array_elements_text(CAST(:entries AS json)) WITH ORDINALITY AS e (entry, place)"
    ),
}
"""All entries of a group travel as one JSON array and are stored in one step: with a step for
each the writer's thread and the event loop would wait for each other a thousand times."""
_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Act(StrEnum):
    """Every act that leaves a line. The value is the stable word in the log."""

    BOOKING_IMPORTED = "booking.imported"
    BOOKING_MOVED = "booking.moved"
    BOOKING_CANCELLED = "booking.cancelled"
    BOOKING_ASSIGNED = "booking.assigned"
    BOOKING_ENDED = "booking.ended"
    BOOKING_CONFIRMED = "booking.confirmed"
    BOOKING_CANCEL_ASKED = "booking.cancel_asked"
    PATIENTS_MERGED = "patient.merged"
    IDENTITY_COMPLETED = "patient.completed"
    PHASE_CHANGED = "phase.changed"
    NOTICE_RULE_CHANGED = "notice_rule.changed"
    SOURCE_CHANGED = "source.changed"
    SOURCE_KEY_ISSUED = "source.key_issued"
    CUP_MESSAGE_OPENED = "cup.message_opened"
    CUP_MESSAGE_REPLAYED = "cup.message_replayed"
    CUP_MESSAGE_DISCARDED = "cup.message_discarded"
    CUP_EVENT_RETRIED = "cup.event_retried"
    CUP_FILE_UPLOADED = "cup.file_uploaded"
    MESSAGE_SENT = "message.sent"
    MESSAGE_FAILED = "message.failed"
    DEVICE_CODE_SENT = "device.code_sent"
    CONTACT_OPENED = "contact.opened"
    CONTACT_CORRECTED = "contact.corrected"
    LINK_ISSUED = "link.issued"
    LINK_READ = "link.read"
    LINK_CODE_READ = "link.code_read"
    LINK_REVOKED = "link.revoked"
    LINK_CLAIMED = "link.claimed"
    LINK_CLAIM_FAILED = "link.claim_failed"
    DEVICE_REPLACED = "device.replaced"
    CHECK_IN_SAVED = "check_in.saved"
    CHECK_IN_COMPLETED = "check_in.completed"
    LINE_TESTED = "line.tested"
    CONSENT_GIVEN = "consent.given"
    CONSENT_REFUSED = "consent.refused"
    CONSENT_WITHDRAWN = "consent.withdrawn"
    WAITING = "visit.waiting"
    LATE_ANNOUNCED = "visit.late"
    IDENTITY_CONFIRMED = "visit.identity_confirmed"
    ELIGIBILITY_CONFIRMED = "visit.eligibility_confirmed"
    ADMITTED = "visit.admitted"
    TURNED_AWAY = "visit.turned_away"
    FINISHED = "visit.finished"
    OUTCOME = "visit.outcome"
    SUITABILITY_STATED = "visit.suitability_stated"
    ROOM_JOINED = "room.joined"
    ROOM_REJOINED = "room.rejoined"
    ROOM_DROPPED = "room.dropped"
    ROOM_LEFT = "room.left"
    MEDIA_CHANGED = "media.changed"
    MEDIA_PROVEN = "media.proven"
    SAS_CONFIRMED = "sas.confirmed"
    SAS_MISMATCH = "sas.mismatch"
    SAS_SKIPPED = "sas.skipped"
    NOTE_OPENED = "note.opened"
    NOTE_SAVED = "note.saved"
    NOTE_HISTORY_OPENED = "note.history_opened"
    NOTE_PRINTED = "note.printed"
    TEMPLATE_SAVED = "template.saved"
    TEMPLATE_PUBLISHED = "template.published"
    TEMPLATE_WITHDRAWN = "template.withdrawn"
    TEMPLATE_ADOPTED = "template.adopted"
    CODE_LIST_LOADED = "codes.loaded"
    ATTACHMENT_ADDED = "attachment.added"
    ATTACHMENT_REFUSED = "attachment.refused"
    ATTACHMENT_OPENED = "attachment.opened"
    ATTACHMENT_DELETED = "attachment.deleted"
    ATTACHMENT_CHOSEN = "attachment.chosen"
    STILL_ASKED = "still.asked"
    STILL_TAKEN = "still.taken"
    STILL_REFUSED = "still.refused"
    REPORT_DRAFTED = "report.drafted"
    REPORT_SIGNED = "report.signed"
    REPORT_OPENED = "report.opened"
    REPORT_DELIVERED = "report.delivered"
    REPORT_CODE_SENT = "report.code_sent"
    REPORT_CODE_FAILED = "report.code_failed"
    REPORT_DOWNLOADED = "report.downloaded"
    REPORT_EXPORTED = "report.exported"
    REPORT_OBSCURED = "report.obscured"
    REPORT_UNOBSCURED = "report.unobscured"
    SIGNER_CHANGED = "signer.changed"
    SIGNER_REMOVED = "signer.removed"
    FSE_VALIDATED = "fse.validated"
    FSE_PUBLISHED = "fse.published"
    FSE_REFUSED = "fse.refused"
    FSE_RETRIED = "fse.retried"
    KEY_ROTATED = "key.rotated"
    KEYS_REWRAPPED = "key.rewrapped"
    KEYS_ESCROWED = "key.escrowed"
    KEYS_RESTORED = "key.restored"
    KEY_SHREDDED = "key.shredded"
    SEAL_BROKEN = "seal.broken"
    HOLD_PLACED = "hold.placed"
    HOLD_LIFTED = "hold.lifted"
    RETENTION_CHANGED = "retention.changed"
    CARD_OPENED = "card.opened"
    LOG_READ = "log.read"
    LOGGED_IN = "login.done"
    LOGIN_FAILED = "login.failed"
    LOGGED_OUT = "login.ended"


class ActorRole(StrEnum):
    """Who did it: a person's role, or the platform itself."""

    PATIENT = "patient"
    CLINICIAN = "clinician"
    DESK = "desk"
    MANAGER = "manager"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    SYSTEM = "system"


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One act. ``actor`` is a user or device id, empty for the platform; ``facts`` are ids,
    numbers and stable words only."""

    at: datetime
    act: Act
    role: ActorRole
    actor: str = ""
    visit: str | None = None
    facts: dict[str, Fact] = {}

    def canonical(self) -> str:
        """The text that is stored: sorted keys, no spaces."""
        content = {
            "act": self.act,
            "actor": self.actor,
            "at": self.at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "facts": self.facts,
            "role": self.role,
            "visit": self.visit,
        }
        return _encode(content).decode()


async def append(session: AsyncSession, organisation: OrganisationId, *entries: Entry) -> None:
    """Number and store entries in the caller's transaction.

    The head row stays locked until the commit, so numbers have no gaps and no doubles.
    """
    grown = {"organisation": organisation, "count": len(entries)}
    size = await session.scalar(_GROW, grown)
    if size is None:
        raise LookupError("no log for this organisation")
    group = {
        "organisation": organisation,
        "first": size - len(entries) + 1,
        "entries": _encode([entry.canonical() for entry in entries]).decode(),
    }
    await session.execute(_INSERT[session.get_bind().dialect.name], group)


async def append_once(session: AsyncSession, organisation: OrganisationId, *entries: Entry) -> None:
    """:func:`append` for entries that may be stored already: the answer to their commit was lost.
    Whoever may still be storing them is waited for at the head of the log."""
    head = select(_HEADS.c.size).where(_HEADS.c.organisation_id == organisation)
    await session.execute(head.with_for_update())
    visits = {entry.visit for entry in entries}
    stored = await session.scalars(select(LogEntry.entry).where(LogEntry.visit_id.in_(visits)))
    known = set(stored)
    await append(session, organisation, *(one for one in entries if one.canonical() not in known))
