"""The rows: one schema for PostgreSQL and SQLite.

Names, birth dates, codes, contacts, addresses and clinical words are in ``sealed_*`` columns
only; what is clear is what the service needs to run (times, states, booking codes).
"""

from server.models.booking import (
    ERASED_BYTES,
    Appointment,
    AppointmentStatus,
    Patient,
    PatientIdentifier,
)
from server.models.call import CallInterval, CallOutage, Direction, LineTest, Suitability
from server.models.cup import (
    Connector,
    Difference,
    DifferenceKind,
    EventKind,
    EventState,
    FhirAwaited,
    FhirResource,
    InboxMessage,
    MessageState,
    OutboxEvent,
    Reconciliation,
    Source,
    VisitChange,
    VisitChangeKind,
)
from server.models.ids import new_id, new_locator
from server.models.log import LogCheckpoint, LogEntry, LogHead, LogTile, LogValue
from server.models.message import Channel, DispatchState, MessageKind, PatientMessage
from server.models.organisation import (
    Clinic,
    DataKey,
    NoticeRule,
    Organisation,
    OrganisationKey,
    Phase,
    PhaseChange,
)
from server.models.people import Profession, User, UserRole, UserSession
from server.models.rating import Rating, Score
from server.models.record import Note, NoteFormat
from server.models.recording import (
    Recording,
    RecordingAnswer,
    RecordingConsent,
    RecordingPurpose,
    RecordingState,
    RecordingTrack,
    TrackState,
)
from server.models.report import (
    Report,
    ReportCode,
    ReportKind,
    ReportState,
    Signer,
    SignerKind,
    Submission,
    SubmissionState,
)
from server.models.retention import Kept, LegalHold, RetentionTerm
from server.models.shared import SharedVersion
from server.models.summary import ProblemAcknowledgement, SavedView, SummaryHead, VisitSummary
from server.models.training import Practice, TrainingScenario
from server.models.visit import CheckIn, Consent, ConsentKind, Device, Outcome, Visit, VisitState
from server.models.writing import (
    Attachment,
    AttachmentKind,
    CodeListEntry,
    CodeSystem,
    NoteTemplate,
    Phrase,
)

__all__ = [
    "ERASED_BYTES",
    "Appointment",
    "AppointmentStatus",
    "Attachment",
    "AttachmentKind",
    "CallInterval",
    "CallOutage",
    "Channel",
    "CheckIn",
    "Clinic",
    "CodeListEntry",
    "CodeSystem",
    "Connector",
    "Consent",
    "ConsentKind",
    "DataKey",
    "Device",
    "Difference",
    "DifferenceKind",
    "Direction",
    "DispatchState",
    "EventKind",
    "EventState",
    "FhirAwaited",
    "FhirResource",
    "InboxMessage",
    "Kept",
    "LegalHold",
    "LineTest",
    "LogCheckpoint",
    "LogEntry",
    "LogHead",
    "LogTile",
    "LogValue",
    "MessageKind",
    "MessageState",
    "Note",
    "NoteFormat",
    "NoteTemplate",
    "NoticeRule",
    "Organisation",
    "OrganisationKey",
    "OutboxEvent",
    "Outcome",
    "Patient",
    "PatientIdentifier",
    "PatientMessage",
    "Phase",
    "PhaseChange",
    "Phrase",
    "Practice",
    "ProblemAcknowledgement",
    "Profession",
    "Rating",
    "Reconciliation",
    "Recording",
    "RecordingAnswer",
    "RecordingConsent",
    "RecordingPurpose",
    "RecordingState",
    "RecordingTrack",
    "Report",
    "ReportCode",
    "ReportKind",
    "ReportState",
    "RetentionTerm",
    "SavedView",
    "Score",
    "SharedVersion",
    "Signer",
    "SignerKind",
    "Source",
    "Submission",
    "SubmissionState",
    "Suitability",
    "SummaryHead",
    "TrackState",
    "TrainingScenario",
    "User",
    "UserRole",
    "UserSession",
    "Visit",
    "VisitChange",
    "VisitChangeKind",
    "VisitState",
    "VisitSummary",
    "new_id",
    "new_locator",
]
