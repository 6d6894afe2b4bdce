"""The rows: one schema for PostgreSQL and SQLite.

Names, birth dates, codes, contacts, addresses and clinical words are in ``sealed_*`` columns
only; what is clear is what the service needs to run (times, states, booking codes).
"""

from server.models.booking import Appointment, AppointmentStatus, ImportIssue, Patient, Source
from server.models.ids import new_id, new_locator
from server.models.organisation import Clinic, DataKey, Organisation, OrganisationKey
from server.models.people import User, UserRole, UserSession
from server.models.record import LogEntry, LogHead, Note
from server.models.visit import CheckIn, Consent, ConsentKind, Device, Outcome, Visit, VisitState

__all__ = [
    "Appointment",
    "AppointmentStatus",
    "CheckIn",
    "Clinic",
    "Consent",
    "ConsentKind",
    "DataKey",
    "Device",
    "ImportIssue",
    "LogEntry",
    "LogHead",
    "Note",
    "Organisation",
    "OrganisationKey",
    "Outcome",
    "Patient",
    "Source",
    "User",
    "UserRole",
    "UserSession",
    "Visit",
    "VisitState",
    "new_id",
    "new_locator",
]
