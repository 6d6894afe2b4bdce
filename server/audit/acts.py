"""The acts that leave a line, who does them, and how they end."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ActOutcome(StrEnum):
    """How an act ended."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


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
    SCENARIO_SAVED = "scenario.saved"
    SCENARIO_PUBLISHED = "scenario.published"
    SCENARIO_WITHDRAWN = "scenario.withdrawn"
    SCENARIO_ADOPTED = "scenario.adopted"
    PRACTICE_BEGAN = "practice.began"
    CODE_LIST_LOADED = "codes.loaded"
    ATTACHMENT_ADDED = "attachment.added"
    ATTACHMENT_REFUSED = "attachment.refused"
    ATTACHMENT_OPENED = "attachment.opened"
    ATTACHMENT_DELETED = "attachment.deleted"
    ATTACHMENT_CHOSEN = "attachment.chosen"
    STILL_ASKED = "still.asked"
    STILL_TAKEN = "still.taken"
    STILL_REFUSED = "still.refused"
    RECORDING_ASKED = "recording.asked"
    RECORDING_ACCEPTED = "recording.accepted"
    RECORDING_REFUSED = "recording.refused"
    RECORDING_STOPPED = "recording.stopped"
    RECORDING_BEGAN = "recording.began"
    RECORDING_FAILED = "recording.failed"
    RECORDING_RESUMED = "recording.resumed"
    RECORDING_ENDED = "recording.ended"
    RECORDING_FOUND = "recording.found"
    RECORDING_OPENED = "recording.opened"
    RECORDING_EXPORTED = "recording.exported"
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
    USER_CHANGED = "user.changed"
    ORGANISATION_CHANGED = "organisation.changed"
    CLINIC_CHANGED = "clinic.changed"
    CARD_OPENED = "card.opened"
    LIST_OPENED = "list.opened"
    LOG_READ = "log.read"
    LOG_EXPORTED = "log.exported"
    LOG_VERIFIED = "log.verified"
    LOG_ERASED = "log.erased"
    LOG_ACCEPTED = "log.accepted"
    LOG_REFUSED = "log.refused"
    PROBLEM_ACKNOWLEDGED = "problem.acknowledged"
    VIEW_SAVED = "view.saved"
    VISIT_RATED = "visit.rated"
    OPENINGS_READ = "openings.read"
    FIGURES_READ = "figures.read"
    PATIENT_EXPORTED = "patient.exported"
    PATIENT_RECTIFIED = "patient.rectified"
    LOGGED_IN = "login.done"
    LOGIN_FAILED = "login.failed"
    LOGGED_OUT = "login.ended"

    @property
    def outcome(self) -> ActOutcome:
        return _OUTCOMES.get(self, ActOutcome.DONE)

    @property
    def is_authentication(self) -> bool:
        """Whether DM 19/11/2025 asks for twelve months and not for twenty-four."""
        return self in _AUTHENTICATION


class ActorRole(StrEnum):
    """Who did it: a person's role, or the platform itself."""

    PATIENT = "patient"
    CLINICIAN = "clinician"
    DESK = "desk"
    MANAGER = "manager"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    SYSTEM = "system"


CUP_ACTS: Final = (
    Act.BOOKING_IMPORTED, Act.BOOKING_MOVED, Act.BOOKING_CANCELLED, Act.BOOKING_ASSIGNED,
    Act.BOOKING_ENDED, Act.PATIENTS_MERGED, Act.LINK_ISSUED, Act.LINK_REVOKED,
)  # fmt: skip
"""What a message from CUP may lead to."""
_OUTCOMES: Final = {
    Act.MESSAGE_FAILED: ActOutcome.FAILED,
    Act.REPORT_CODE_FAILED: ActOutcome.FAILED,
    Act.LOGIN_FAILED: ActOutcome.FAILED,
    Act.LINK_CLAIM_FAILED: ActOutcome.FAILED,
    Act.SEAL_BROKEN: ActOutcome.FAILED,
    Act.SAS_MISMATCH: ActOutcome.FAILED,
    Act.ROOM_DROPPED: ActOutcome.FAILED,
    Act.RECORDING_FAILED: ActOutcome.FAILED,
    Act.CONSENT_REFUSED: ActOutcome.REFUSED,
    Act.RECORDING_REFUSED: ActOutcome.REFUSED,
    Act.TURNED_AWAY: ActOutcome.REFUSED,
    Act.ATTACHMENT_REFUSED: ActOutcome.REFUSED,
    Act.STILL_REFUSED: ActOutcome.REFUSED,
    Act.FSE_REFUSED: ActOutcome.REFUSED,
    Act.LOG_REFUSED: ActOutcome.REFUSED,
}
_AUTHENTICATION: Final = frozenset(
    {
        Act.LOGGED_IN, Act.LOGIN_FAILED, Act.LOGGED_OUT, Act.LINK_CLAIMED, Act.LINK_CLAIM_FAILED,
        Act.DEVICE_CODE_SENT, Act.DEVICE_REPLACED, Act.REPORT_CODE_SENT, Act.REPORT_CODE_FAILED,
    }
)  # fmt: skip
