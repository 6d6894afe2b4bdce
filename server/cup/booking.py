"""The port between CUP and us: a booking, or a row that could not become one.

Types only. Texts come from connectors, rules are in :mod:`server.cup.values`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.errors import AccantoError, CommandFailed
from server.models import AppointmentStatus
from server.sealed import Details, Identity


class Field(StrEnum):
    """What a connector can find in a row; each is optional for the connector."""

    BOOKING_CODE = "booking_code"
    ORGANISATION = "organisation"
    CLINICIAN_CODE = "clinician_code"
    CLINIC_CODE = "clinic_code"
    CLINIC_NAME = "clinic_name"
    START = "start"
    """Date and time in one; else ``DATE`` and ``TIME``."""
    DATE = "date"
    TIME = "time"
    END = "end"
    MINUTES = "minutes"
    STATUS = "status"
    PRIORITY = "priority"
    FIRST_VISIT = "first_visit"
    FAMILY_NAME = "family_name"
    GIVEN_NAME = "given_name"
    BIRTH_DATE = "birth_date"
    SEX = "sex"
    CODICE_FISCALE = "codice_fiscale"
    PHONE = "phone"
    EMAIL = "email"
    ADDRESS = "address"
    NRE = "nre"
    QUESTION = "question"
    SERVICE_CODE = "service_code"
    SERVICE_NAME = "service_name"
    EXEMPTION = "exemption"
    PRESCRIBER = "prescriber"


class Reason(StrEnum):
    """Why a row was not applied: stable words that can be read aloud."""

    MISSING = "missing"
    NOT_A_DATE = "not_a_date"
    NOT_A_TIME = "not_a_time"
    NOT_A_DURATION = "not_a_duration"
    ENDS_BEFORE_START = "ends_before_start"
    NOT_KNOWN = "not_known"
    NOT_AN_IDENTIFIER = "not_an_identifier"
    TOO_LONG = "too_long"
    NOT_UTF_8 = "not_utf_8"
    CONTROL_CHARACTER = "control_character"
    BROKEN_QUOTES = "broken_quotes"
    TOO_MANY_CELLS = "too_many_cells"
    TOO_MANY_ROWS = "too_many_rows"
    ORGANISATION_NEEDED = "organisation_needed"
    ALREADY_CANCELLED = "already_cancelled"
    VISIT_ALREADY_BEGUN = "visit_already_begun"

    @property
    def words(self) -> str:
        return self.value.replace("_", " ")


class FieldError(AccantoError):
    """One field of one row is wrong."""

    def __init__(self, field: Field, reason: Reason) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class FileRejected(CommandFailed):
    """The file as a whole cannot be read; nothing of it was applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """One booking as CUP has it now.

    ``organisation_codes`` and ``clinician_codes`` are candidates, best first: a FHIR
    Organization has several identifiers and only one of them is the code we know. Empty when the
    file does not say.
    """

    booking_code: str
    organisation_codes: tuple[str, ...]
    clinician_codes: tuple[str, ...]
    clinic_code: str
    clinic_name: str
    start: datetime
    end: datetime
    status: AppointmentStatus
    priority: str
    is_first_visit: bool
    identity: Identity
    details: Details


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """A row that became a booking. ``line`` is the line of the file, or the entry of a bundle."""

    line: int
    booking: Booking
    raw: bytes
    columns: dict[Field, str]
    """What the file calls each field, for errors found after the mapping."""

    @property
    def organisation_codes(self) -> tuple[str, ...]:
        return self.booking.organisation_codes


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that did not. ``field`` is what the file calls it; ``raw`` is never shown or logged."""

    line: int
    field: str
    reason: Reason
    raw: bytes
    organisation_codes: tuple[str, ...] = ()
