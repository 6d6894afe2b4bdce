"""The port between CUP and us: what a connector makes of one message, whatever its language.

Types only. Connectors (:mod:`~server.cup.hl7v2`, :mod:`~server.cup.fhir`,
:mod:`~server.cup.csvfile`) are pure mappings from bytes to a :class:`Message`; rules for texts are
in :mod:`server.cup.values`; :mod:`server.cup.inbox` alone writes rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from server.errors import AccantoError, CommandFailed
from server.models import Connector
from server.sealed import Details, Identity

_NUMBERED: Final = re.compile(r"\D*(\d{1,18})", re.ASCII)


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
    STREET = "street"
    POSTAL_CODE = "postal_code"
    CITY = "city"
    PROVINCE = "province"
    COUNTRY = "country"
    BIRTH_CITY = "birth_city"
    BIRTH_PROVINCE = "birth_province"
    BIRTH_COUNTRY = "birth_country"
    NRE = "nre"
    QUESTION = "question"
    SERVICE_CODE = "service_code"
    SERVICE_NAME = "service_name"
    EXEMPTION = "exemption"
    PRESCRIBER = "prescriber"
    REGIONAL_CODE = "regional_code"
    AGENDA = "agenda"
    PRESCRIBED_ON = "prescribed_on"
    BOOKED_ON = "booked_on"
    OFFERED_ON = "offered_on"
    INTERPRETER = "interpreter"
    LANGUAGE = "language"
    TEAM_CARD = "team_card"
    TEAM_NUMBER = "team_number"
    """The personal number that goes with the card."""
    ANA_CODE = "ana_code"
    PATIENT_ID = "patient_id"
    """The source's own number of the patient."""
    MESSAGE = "message"
    """The message as a whole: its envelope, encoding or type."""
    CONTROL_ID = "control_id"


class Reason(StrEnum):
    """Why a message was not applied, or what is odd in it: stable words that can be read aloud."""

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
    NOT_A_BOOKING = "not_a_booking"
    """Well formed, and of a kind this link does not take (an ORU, a Slot…)."""
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    NESTED_TOO_DEEP = "nested_too_deep"
    WRONG_CHARACTER_SET = "wrong_character_set"
    WRONG_SENDER = "wrong_sender"
    OTHER_ORGANISATION = "other_organisation"
    """Names another organisation of this installation than the source's."""
    CONTROL_ID_REUSED = "control_id_reused"
    """Another message came under this control id before."""
    PATIENT_NOT_KNOWN = "patient_not_known"
    VISIT_ALREADY_BEGUN = "visit_already_begun"
    """A warning: CUP moved or closed what is happening here; the visit stays as it is."""
    PATIENT_WAS_PRESENT = "patient_was_present"
    """A warning: CUP says absent, and the patient waited here (WL-05)."""
    SEX_DOES_NOT_MATCH = "sex_does_not_match"
    BIRTH_DATE_DOES_NOT_MATCH = "birth_date_does_not_match"
    CHECK_CHARACTER_WRONG = "check_character_wrong"
    PROFILE_ELEMENT_MISSING = "profile_element_missing"

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


class BookingEvent(StrEnum):
    """What a message says of a booking; the newest message decides."""

    BOOKED = "booked"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"


_RANKS: Final = tuple(BookingEvent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """One booking as one message has it. What the message leaves out is empty or None.

    ``organisation_codes`` and ``clinician_codes`` are candidates, best first: a FHIR
    Organization has several identifiers and only one of them is the code we know. Empty when the
    message does not say. ``patient_keys`` are the source's own numbers of the patient, each with
    its authority and type (``authority|type|value``), kept as keyed hashes only.
    """

    booking_code: str
    event: BookingEvent
    organisation_codes: tuple[str, ...] = ()
    clinician_codes: tuple[str, ...] = ()
    clinic_code: str = ""
    clinic_name: str = ""
    start: datetime | None = None
    """None only in a cancellation or no-show: the booking keeps its time."""
    end: datetime | None = None
    priority: str = ""
    is_first_visit: bool | None = None
    identity: Identity
    patient_keys: tuple[str, ...] = ()
    details: Details


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """ADT A40: who was ``retired_keys`` is ``patient_keys`` from now on (MRG into PID)."""

    patient_keys: tuple[str, ...]
    retired_keys: tuple[str, ...]
    identity: Identity
    retired_codice_fiscale: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a message cannot be applied. ``path`` is what its language calls the field."""

    field: Field
    reason: Reason
    path: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something odd that does not stop a message."""

    field: Field
    reason: Reason

    def __str__(self) -> str:
        return f"{self.field}:{self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which of two messages of a booking is the newer, however they arrived (domain WL-08).

    By the message's own time and sequence number (MSH-7, MSH-13; ``meta.lastUpdated``), then by a
    control id that counts up, then by what comes last in a booking's life.
    """

    sent_at: datetime
    sequence: int = 0
    control_id: str = ""
    event: BookingEvent = BookingEvent.BOOKED

    @property
    def key(self) -> str:
        """A text that sorts as the order does; at most 255 characters."""
        numbered = _NUMBERED.fullmatch(self.control_id)
        parts = (
            f"{self.sent_at.astimezone(UTC):%Y%m%d%H%M%S%f}",
            f"{self.sequence:015}",
            f"{int(numbered[1]) if numbered else 0:018}",
            str(_RANKS.index(self.event)),
            self.control_id[:180],
        )
        return "|".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a source, mapped. A connector never raises for a bad one: it gives a fault.

    ``raw`` is kept sealed and is enough to map the message again later: of a CSV row it includes
    the header line, of a bundle's entry every resource it refers to. ``content`` is what the
    message says without its envelope (control id, time of sending): two messages with the same
    content say the same.
    """

    connector: Connector
    control_id: str | None
    event: str
    """``S12``, ``A40``, ``booked``: as the language says it, at most 16 characters."""
    order: Order
    content: bytes
    raw: bytes
    body: Booking | Merge | Fault
    booking_code: str = ""
    """Also of a faulty message, when it could be read."""
    organisation_codes: tuple[str, ...] = ()
    """Whom a row of a file is for, also of a faulty one."""
    notices: tuple[Notice, ...] = ()
    paths: Mapping[Field, str]
    """What this language calls each field, for faults found after the mapping."""
    line: int = 0
    """Of a file: the line, or the entry of a bundle."""
