"""Which pattern of BALP each act follows, and which FHIR resource stands for each kind of object.

Tokens (SAML, OAuth) have patterns of their own; nobody comes in here by one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from server.audit import Act


class Kind(StrEnum):
    """What an act was, in BALP's terms; the last two are DICOM's, which BALP leaves as they are."""

    CREATE = "Create"
    READ = "Read"
    UPDATE = "Update"
    DELETE = "Delete"
    QUERY = "Query"
    CONSENT_DECISION = "AuthZconsent"
    DISCLOSURE = "PrivacyDisclosure.Source"
    RECEPTION = "PrivacyDisclosure.Recipient"
    LOGIN = "login"
    ALERT = "alert"


_CREATES: Final = (
    Act.SOURCE_KEY_ISSUED, Act.CUP_FILE_UPLOADED, Act.MESSAGE_SENT, Act.MESSAGE_FAILED,
    Act.DEVICE_CODE_SENT, Act.LINK_ISSUED, Act.LINE_TESTED, Act.CONSENT_GIVEN, Act.CONSENT_REFUSED,
    Act.TEMPLATE_SAVED, Act.TEMPLATE_ADOPTED, Act.CODE_LIST_LOADED, Act.ATTACHMENT_ADDED,
    Act.ATTACHMENT_REFUSED, Act.STILL_TAKEN, Act.STILL_REFUSED, Act.REPORT_DRAFTED,
    Act.RECORDING_ACCEPTED, Act.RECORDING_REFUSED,
    Act.REPORT_DELIVERED, Act.REPORT_CODE_SENT, Act.KEY_ROTATED, Act.KEYS_ESCROWED,
    Act.HOLD_PLACED, Act.VIEW_SAVED, Act.VISIT_RATED, Act.SCENARIO_SAVED, Act.SCENARIO_ADOPTED,
    Act.PRACTICE_BEGAN,
)  # fmt: skip
_READS: Final = (
    Act.CUP_MESSAGE_OPENED, Act.CONTACT_OPENED, Act.LINK_READ, Act.LINK_CODE_READ, Act.NOTE_OPENED,
    Act.NOTE_HISTORY_OPENED, Act.NOTE_PRINTED, Act.ATTACHMENT_OPENED, Act.REPORT_OPENED,
    Act.REPORT_DOWNLOADED, Act.CARD_OPENED, Act.LOG_VERIFIED, Act.RECORDING_OPENED,
)  # fmt: skip
_DELETES: Final = (
    Act.ATTACHMENT_DELETED, Act.SIGNER_REMOVED, Act.KEY_SHREDDED, Act.LOG_ERASED,
)  # fmt: skip
_QUERIES: Final = (Act.LIST_OPENED, Act.LOG_READ, Act.OPENINGS_READ, Act.FIGURES_READ)
_DISCLOSURES: Final = (
    Act.LOG_EXPORTED, Act.PATIENT_EXPORTED, Act.REPORT_EXPORTED, Act.FSE_PUBLISHED,
    Act.RECORDING_EXPORTED,
)  # fmt: skip
_LOGINS: Final = (
    Act.LOGGED_IN, Act.LOGIN_FAILED, Act.LOGGED_OUT, Act.LINK_CLAIMED, Act.LINK_CLAIM_FAILED,
    Act.REPORT_CODE_FAILED,
)  # fmt: skip
_ALERTS: Final = (Act.SEAL_BROKEN, Act.LOG_REFUSED, Act.SAS_MISMATCH)

KINDS: Final[dict[Act, Kind]] = {
    **dict.fromkeys(Act, Kind.UPDATE),
    **dict.fromkeys(_CREATES, Kind.CREATE),
    **dict.fromkeys(_READS, Kind.READ),
    **dict.fromkeys(_DELETES, Kind.DELETE),
    **dict.fromkeys(_QUERIES, Kind.QUERY),
    **dict.fromkeys(_DISCLOSURES, Kind.DISCLOSURE),
    **dict.fromkeys(_LOGINS, Kind.LOGIN),
    **dict.fromkeys(_ALERTS, Kind.ALERT),
    Act.BOOKING_IMPORTED: Kind.RECEPTION,
    Act.WAITING: Kind.CONSENT_DECISION,
}
"""What is not named changes the state of something: a visit, a booking, a setting."""

RESOURCES: Final = {
    "visit": "Encounter",
    "booking": "Appointment",
    "appointment": "Appointment",
    "patient": "Patient",
    "contact": "Patient",
    "card": "Patient",
    "check_in": "QuestionnaireResponse",
    "rating": "QuestionnaireResponse",
    "consent": "Consent",
    "line": "Observation",
    "note": "Composition",
    "attachment": "DocumentReference",
    "still": "DocumentReference",
    "report": "DocumentReference",
    "fse": "DocumentReference",
    "message": "Communication",
    "cup": "MessageHeader",
    "source": "Endpoint",
    "template": "Questionnaire",
    "scenario": "PlanDefinition",
    "codes": "CodeSystem",
    "user": "Practitioner",
    "signer": "Practitioner",
    "device": "Device",
    "clinic": "Location",
    "organisation": "Organization",
    "log": "AuditEvent",
    "openings": "AuditEvent",
    "figures": "MeasureReport",
}
"""FHIR resource types by the first word of an entry's ``object``, or of its act where that names
the visit only; others are ``Basic``."""
ID_FACTS: Final = {
    "report": "report",
    "fse": "report",
    "attachment": "file",
    "still": "file",
    "source": "source",
    "template": "template",
    "scenario": "scenario",
    "cup": "message",
}
"""Which fact of an act has the id of what it was done to."""
